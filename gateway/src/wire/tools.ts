// The fields of tools, of OpenAI's chat dialect: `tools`, `tool_choice`, `parallel_tool_calls`.
// It must never look into a tool's schema: what of it can be honoured is the back end's to say.
import { z } from 'zod';
import type { Tool, ToolChoice } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { booleanField, isNullish, isObject, listOf, optional } from './request-fields.ts';

export const MAX_TOOLS = 128;
const NAME = 'must be a name of 1 to 64 letters, digits, dots, hyphens and underscores';
const CHOICE = 'must be auto, none, required, or {"type": "function", "function": {"name"}}';

const name = z.string(NAME).regex(/^[\w.-]{1,64}$/, NAME);

const tool = z
  .custom<Readonly<Record<string, unknown>>>(isObject, 'must be a tool, an object with a "type"')
  .transform((value, context): Omit<Tool, 'path'> => {
    const refuse = (path: string[], message: string) => {
      context.addIssue({ code: 'custom', path, message });
      return z.NEVER;
    };
    if (value.type !== 'function') return refuse(['type'], 'must be function');
    const inner = value.function;
    if (!isObject(inner)) return refuse(['function'], 'must be an object with a "name"');
    const read = name.safeParse(inner.name);
    if (!read.success) return refuse(['function', 'name'], NAME);
    const { description, parameters, strict } = inner;
    if (!isNullish(description) && typeof description !== 'string') {
      return refuse(['function', 'description'], 'must be a text');
    }
    if (!isNullish(parameters) && !isObject(parameters)) {
      return refuse(['function', 'parameters'], 'must be a JSON Schema, an object');
    }
    if (!isNullish(strict) && typeof strict !== 'boolean') {
      return refuse(['function', 'strict'], 'must be true or false');
    }
    return {
      name: read.data,
      parameters: parameters ?? undefined,
      isStrict: strict === true,
      original: value,
    };
  });

const choice = z.unknown().transform((value, context): ToolChoice | undefined => {
  if (isNullish(value)) return undefined;
  if (value === 'auto' || value === 'none' || value === 'required') return value;
  if (isObject(value) && value.type === 'function' && isObject(value.function)) {
    const read = name.safeParse(value.function.name);
    if (read.success) return { name: read.data };
    context.addIssue({ code: 'custom', path: ['function', 'name'], message: NAME });
    return z.NEVER;
  }
  context.addIssue({ code: 'custom', message: CHOICE });
  return z.NEVER;
});

/** To be spread into a dialect's schema; `toolsOf` reads what came of them. */
export const toolFields = {
  tools: optional(listOf(tool, `must be a list of at most ${MAX_TOOLS} tools`, 0, MAX_TOOLS)),
  tool_choice: optional(choice),
  parallel_tool_calls: booleanField,
};

type ToolFields = z.output<z.ZodObject<typeof toolFields>>;

export interface ToolsAsked {
  readonly tools: readonly Tool[] | undefined;
  readonly toolChoice: ToolChoice | undefined;
  readonly parallelToolCalls: boolean | undefined;
}

/** An empty list is none. Throws `invalid_request` for a choice of a tool that is not there, or of none at all. */
export function toolsOf(fields: ToolFields): ToolsAsked {
  const { tools = [], tool_choice: choice, parallel_tool_calls: parallelToolCalls } = fields;
  const at = { name: 'function.name', schema: 'function.parameters' };
  return { ...checkedTools(tools, choice, at), parallelToolCalls };
}

/** As `toolsOf`, of any dialect. `at`: where in a tool its name and its schema stand. */
export function checkedTools(
  listed: readonly Omit<Tool, 'path'>[],
  toolChoice: ToolChoice | undefined,
  at: { readonly name: string; readonly schema: string },
): Pick<ToolsAsked, 'tools' | 'toolChoice'> {
  const tools = listed.map((one, index) => ({ ...one, path: `tools[${index}].${at.schema}` }));
  for (const [index, one] of tools.entries()) {
    if (tools.findIndex((other) => other.name === one.name) < index) {
      throw refusal(`tools[${index}].${at.name}`, 'is the name of an earlier tool');
    }
  }
  if (toolChoice !== undefined && toolChoice !== 'auto' && toolChoice !== 'none') {
    if (tools.length === 0) throw refusal('tool_choice', 'asks for a call, and there are no tools');
    if (toolChoice !== 'required' && !tools.some((one) => one.name === toolChoice.name)) {
      throw refusal('tool_choice', 'names a tool that is not in the list');
    }
  }
  return { tools: tools.length === 0 ? undefined : tools, toolChoice };
}

function refusal(param: string, message: string): GatewayError {
  return new GatewayError('invalid_request', `${param} ${message}.`, { param });
}
