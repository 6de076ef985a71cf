// What a request says of its answer's form, as the engine's process gets it: the schemas as one grammar, the tools for the
// template. Made in the gateway's process, so that what cannot be honoured never reaches the engine.
// It must never know how a model writes its calls: its template, in the engine's process, decides that.
// Pure; milliseconds at most.
import type { ChatRequest, Tool } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { GrammarRules } from './grammar/grammar-rules.ts';
import { schemaGrammar } from './grammar/json-schema-grammar.ts';
import type { AnswerFormat, EngineTools } from './messages.ts';

const ANY_OBJECT = { type: 'object' };

/** Undefined where anything may be answered. Throws `invalid_request` with the place in a schema as `param`. */
export function answerFormatOf(request: ChatRequest): AnswerFormat | undefined {
  const { responseFormat = { kind: 'text' }, toolChoice } = request;
  const offered = offeredTools(request);
  const mustCall = toolChoice === 'required' || typeof toolChoice === 'object';
  const hasForm = responseFormat.kind !== 'text';
  if (!hasForm && !mustCall && !offered.some(({ isStrict }) => isStrict)) return undefined;
  const rules = new GrammarRules();
  let path = 'response_format';
  let value: string | undefined;
  if (hasForm && !mustCall) {
    const schema = responseFormat.kind === 'schema' ? responseFormat.schema : ANY_OBJECT;
    if (responseFormat.kind === 'schema') path = responseFormat.path;
    value = schemaGrammar(schema, path, rules).entry;
  }
  const callable =
    typeof toolChoice === 'object' ? offered.filter(({ name }) => name === toolChoice.name) : offered;
  const calls = callable.map((tool) => ({ name: tool.name, entry: argumentsRule(tool, rules) }));
  return { rules: rules.text(path), value, calls, mustCall };
}

/** What the template is to offer. */
export function engineToolsOf(request: ChatRequest): EngineTools | undefined {
  const offered = offeredTools(request);
  if (offered.length === 0) return undefined;
  const isSingle = request.parallelToolCalls === false || typeof request.toolChoice === 'object';
  // Integers that a number cannot hold are objects of their own kind, which cross to no other process.
  const definitions = offered.map(({ original }) => JSON.parse(JSON.stringify(original)));
  return { definitions, isSingle };
}

function offeredTools({ tools = [], toolChoice, prompt }: ChatRequest): readonly Tool[] {
  return toolChoice === 'none' || prompt.kind === 'text' ? [] : tools;
}

/** Only a strict tool's schema must be kept to. Another's is kept to as far as a grammar can, as a help to the model. */
function argumentsRule({ parameters = ANY_OBJECT, isStrict, path }: Tool, rules: GrammarRules): string {
  if (!isStrict && !isHonoured(parameters, path)) return schemaGrammar(ANY_OBJECT, path, rules).entry;
  return schemaGrammar(parameters, path, rules).entry;
}

/** Tried apart, so that nothing of what fails is left among the rules. */
function isHonoured(schema: unknown, path: string): boolean {
  try {
    schemaGrammar(schema, path).rules.text(path);
    return true;
  } catch (error) {
    if (error instanceof GatewayError) return false;
    throw error;
  }
}
