// The two ways in which models that we know write a tool call: Hermes and Qwen, and DeepSeek. Which one a model has its
// chat template tells, because that is where it learned it.
// It must never guess: a template that speaks of tools in another way has no form here.
// Pure.

export interface CallForm {
  /** Before a call's name and arguments. */
  readonly open: string;
  /** Behind them. */
  readonly close: string;
  /** What may stand around calls and says nothing by itself. */
  readonly marks: readonly string[];
  /** Name and arguments are two members of an object; else the name stands before the arguments. */
  readonly isObject: boolean;
  /** Earlier calls' arguments are given to the template as a text; else as the object that the text stands for. */
  readonly takesText: boolean;
  /** Whether this model writes a kind before, and a fence around, as in the form that `isFenced` says. */
  readonly isFenced: boolean;
}

/** Qwen's and Hermes's. */
export const HERMES: CallForm = {
  open: '<tool_call>',
  close: '</tool_call>',
  marks: [],
  isObject: true,
  takesText: false,
  isFenced: false,
};

const CALLS_BEGIN = '<｜tool▁calls▁begin｜>';
const DEEPSEEK: CallForm = {
  open: '<｜tool▁call▁begin｜>',
  close: '<｜tool▁call▁end｜>',
  marks: [CALLS_BEGIN, '<｜tool▁calls▁end｜>'],
  isObject: false,
  takesText: true,
  isFenced: false,
};
export const CALL_SEPARATOR = '<｜tool▁sep｜>';

/** All of their tags, for vocabularies that have one as a token. */
export const CALL_TAGS: readonly string[] = [HERMES, DEEPSEEK]
  .flatMap(({ open, close, marks }) => [open, close, ...marks])
  .concat(CALL_SEPARATOR);

/** Undefined where the template offers no tools, or its model writes calls in a way that is not known here. */
export function callFormOf(template: string): CallForm | undefined {
  if (!/\btools\b/.test(template)) return undefined;
  // Qwen's coders write the same tags around another language.
  if (template.includes(HERMES.open) && !template.includes('<function=')) return HERMES;
  if (!template.includes(DEEPSEEK.open) || !template.includes(CALL_SEPARATOR)) return undefined;
  return { ...DEEPSEEK, isFenced: template.includes('```json') };
}

/** A call as the model would write it, in parts: around its arguments. */
export function writtenCall(
  form: CallForm,
  name: string,
): { readonly before: string; readonly after: string } {
  if (form.isObject) {
    return {
      before: `${form.open}\n{"name": ${JSON.stringify(name)}, "arguments": `,
      after: `}\n${form.close}`,
    };
  }
  const [kind, fence, end] = form.isFenced
    ? [`function${CALL_SEPARATOR}${name}`, '\n```json\n', '\n```']
    : [name, CALL_SEPARATOR, ''];
  return { before: `${form.open}${kind}${fence}`, after: `${end}${form.close}` };
}
