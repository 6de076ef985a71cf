// The fields of tools, of OpenAI's dialects: `tools`, `tool_choice`, `parallel_tool_calls`. The chat dialect describes a
// function in a member of its tool, the newer one in the tool itself.
// It must never look into a tool's schema: what of it can be honoured is the back end's to say.
import { z } from 'zod';
import type { Tool, ToolChoice } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { booleanField, isNullish, isObject, listOf, optional } from './request-fields.ts';

export const MAX_TOOLS = 128;
const NAME = 'must be a name of 1 to 64 letters, digits, dots, hyphens and underscores';
const CHOICE = 'must be auto, none, required, or {"type": "function", "function": {"name"}}';
const FLAT_CHOICE = 'must be auto, none, required, or {"type": "function", "name"}';

const name = z.string(NAME).regex(/^[\w.-]{1,64}$/, NAME);

type Members = Readonly<Record<string, unknown>>;
/** A tool as its dialect reads it, before it has its place in the list. */
type ListedTool = Omit<Tool, 'path'>;

const toolObject = z.custom<Members>(isObject, 'must be a tool, an object with a "type"');

const tool = toolObject.transform((value, context): ListedTool => {
  const refuse = refusing(context);
  if (value.type !== 'function') return refuse(['type'], 'must be function');
  if (!isObject(value.function)) return refuse(['function'], 'must be an object with a "name"');
  return readFunction(value.function, value, (path, message) => refuse(['function', ...path], message));
});

const flatTool = toolObject.transform((value, context): ListedTool => {
  const refuse = refusing(context);
  if (value.type !== 'function') {
    return refuse(['type'], 'must be function: no other kind of tool is run or known here');
  }
  const { type, ...members } = value;
  // The chat dialect has no nulls where this one has them.
  const inner = Object.fromEntries(Object.entries(members).filter(([, member]) => member !== null));
  return readFunction(inner, { type, function: inner }, refuse);
});

function refusing(context: z.RefinementCtx) {
  return (path: string[], message: string) => {
    context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  };
}

function readFunction(
  inner: Members,
  original: unknown,
  refuse: (path: string[], message: string) => never,
): ListedTool {
  const read = name.safeParse(inner.name);
  if (!read.success) return refuse(['name'], NAME);
  const { description, parameters, strict } = inner;
  if (!isNullish(description) && typeof description !== 'string') {
    return refuse(['description'], 'must be a text');
  }
  if (!isNullish(parameters) && !isObject(parameters)) {
    return refuse(['parameters'], 'must be a JSON Schema, an object');
  }
  if (!isNullish(strict) && typeof strict !== 'boolean') {
    return refuse(['strict'], 'must be true or false');
  }
  return { name: read.data, parameters: parameters ?? undefined, isStrict: strict === true, original };
}

const choice = z
  .unknown()
  .transform((value, context) =>
    readChoice(value, ({ function: inner }) => inner, ['function', 'name'], CHOICE, context),
  );
const flatChoice = z
  .unknown()
  .transform((value, context) => readChoice(value, (members) => members, ['name'], FLAT_CHOICE, context));

/** `named`: of a choice of one function, the member that has its name. */
function readChoice(
  value: unknown,
  named: (value: Members) => unknown,
  path: string[],
  message: string,
  context: z.RefinementCtx,
): ToolChoice | undefined {
  if (isNullish(value)) return undefined;
  if (value === 'auto' || value === 'none' || value === 'required') return value;
  const refuse = refusing(context);
  const inner = isObject(value) && value.type === 'function' ? named(value) : undefined;
  if (!isObject(inner)) return refuse([], message);
  const read = name.safeParse(inner.name);
  return read.success ? { name: read.data } : refuse(path, NAME);
}

const LIST = `must be a list of at most ${MAX_TOOLS} tools`;

/** To be spread into a dialect's schema; `toolsOf` reads what came of them. */
export const toolFields = {
  tools: optional(listOf(tool, LIST, 0, MAX_TOOLS)),
  tool_choice: optional(choice),
  parallel_tool_calls: booleanField,
};

/** The same where a tool is its function; what goes on to back ends is in the words of the chat dialect. */
export const flatToolFields = {
  tools: optional(listOf(flatTool, LIST, 0, MAX_TOOLS)),
  tool_choice: optional(flatChoice),
  parallel_tool_calls: booleanField,
};

type ToolFields = z.output<z.ZodObject<typeof toolFields>>;

export interface ToolsAsked {
  readonly tools: readonly Tool[] | undefined;
  readonly toolChoice: ToolChoice | undefined;
  readonly parallelToolCalls: boolean | undefined;
}

/**
 * An empty list is none. Throws `invalid_request` for a choice of a tool that is not there, or of none at all.
 * `within`: where a tool describes its function, as a path.
 */
export function toolsOf(fields: ToolFields, within = '.function'): ToolsAsked {
  const { tools = [], tool_choice: choice, parallel_tool_calls: parallelToolCalls } = fields;
  const at = { name: `${within}.name`, schema: `${within}.parameters` };
  return { ...checkedTools(tools, choice, at), parallelToolCalls };
}

/** As `toolsOf`, of any dialect. `at`: where in a tool its name and its schema stand, as a path. */
export function checkedTools(
  listed: readonly Omit<Tool, 'path'>[],
  toolChoice: ToolChoice | undefined,
  at: { readonly name: string; readonly schema: string },
): Pick<ToolsAsked, 'tools' | 'toolChoice'> {
  const tools = listed.map((one, index) => ({ ...one, path: `tools[${index}]${at.schema}` }));
  for (const [index, one] of tools.entries()) {
    if (tools.findIndex((other) => other.name === one.name) < index) {
      throw refusal(`tools[${index}]${at.name}`, 'is the name of an earlier tool');
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
