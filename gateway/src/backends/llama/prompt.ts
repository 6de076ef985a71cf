// From a conversation to the prompt's tokens: the model's own chat template, then the tokenizer.
// Text that a client wrote must never become a control token, whatever it looks like.
// It must never change that text, except where `breakLookAlikes` says so.
import { randomUUID } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { GatewayError } from '../../core/errors.ts';
import { writtenAnswer } from './begun-answer.ts';
import { type CallForm, callFormOf } from './call-form.ts';
import { type ControlTexts, controlTexts, type Piece, type Span } from './control-texts.ts';
import type { EngineMessage, EnginePrompt, EngineTools } from './messages.ts';

/** The part of a model that prompts need. */
export interface Vocabulary {
  /** With `special`, texts of control tokens become those tokens. No beginning-of-text token is added. */
  tokenize(text: string, special: boolean, continues: boolean): readonly number[];
  /** Whether prompts begin with `bos`. */
  readonly prependBos: boolean;
  readonly bos: number | undefined;
  readonly bosText: string;
  readonly eosText: string;
  /** The texts of all control tokens. */
  readonly controlTokens: readonly string[];
  /** The marks before a gap, behind it, and before what fills it; absent: the model was not taught to fill gaps. */
  readonly infill?: InfillMarks | undefined;
}

export interface InfillMarks {
  readonly prefix: number;
  readonly suffix: number;
  readonly middle: number;
}

export interface PromptTokens {
  readonly tokens: readonly number[];
  /** The prompt ends inside the model's thinking. */
  readonly beginsInReasoning: boolean;
}

/** Variables of a template, by the names that templates know. */
type TemplateSettings = Readonly<Record<string, unknown>>;

/** For files without a template whose vocabulary has its marks: ChatML, as most such models were trained on. */
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

export class PromptBuilder {
  /** The model may think aloud in `<think>` tags. */
  readonly thinks: boolean;
  /** How the model writes tool calls; undefined: it calls none, or in a way that is not known. */
  readonly callForm: CallForm | undefined;
  private readonly vocabulary: Vocabulary;
  private readonly contextTokens: number;
  private readonly controls: ControlTexts;
  private readonly template: Template | undefined;

  /** Throws when the template cannot be read. */
  constructor(templateText: string | undefined, vocabulary: Vocabulary, contextTokens: number) {
    this.vocabulary = vocabulary;
    this.contextTokens = contextTokens;
    this.controls = controlTexts(vocabulary.controlTokens);
    const speaksChatml = ['<|im_start|>', '<|im_end|>'].every((t) => vocabulary.controlTokens.includes(t));
    const text = templateText ?? (speaksChatml ? CHATML : undefined);
    this.template = text === undefined ? undefined : new Template(text);
    this.thinks = text?.includes('<think>') ?? false;
    this.callForm = callFormOf(text ?? '');
  }

  /**
   * Throws `invalid_request` (param `messages`, `tools`, `prompt` or `suffix`) and `context_length_exceeded`, with both
   * numbers.
   */
  build(prompt: EnginePrompt): PromptTokens {
    const built = this.render(prompt);
    this.refuseTooLong(built.tokens.length, prompt.kind === 'text' ? 'prompt' : 'messages');
    return built;
  }

  /** The prompt's tokens, also where they are more than the window. Throws as `build` does. */
  count(prompt: EnginePrompt): number {
    return this.render(prompt).tokens.length;
  }

  private render(prompt: EnginePrompt): PromptTokens {
    if (prompt.kind === 'text') {
      const tokens = this.withBos(this.textTokens(prompt));
      if (tokens.length === 0) {
        throw new GatewayError('invalid_request', 'The prompt is empty.', { param: 'prompt' });
      }
      return { tokens, beginsInReasoning: false };
    }
    const { text, pieces } = this.renderPieces(prompt.messages, this.settings(prompt));
    const tokens = this.withBos(
      pieces.flatMap((piece, index) => this.vocabulary.tokenize(piece.text, piece.special, index > 0)),
    );
    if (tokens.length === 0) {
      throw new GatewayError('invalid_request', "The model's chat template made nothing of these messages.", {
        param: 'messages',
      });
    }
    return { tokens, beginsInReasoning: this.thinks && /<think>\s*$/.test(text) };
  }

  /** A gap stands as llama.cpp's server writes it: what is before it, what is behind it, and then what fills it. */
  private textTokens({ text, suffix }: Extract<EnginePrompt, { kind: 'text' }>): readonly number[] {
    const { infill } = this.vocabulary;
    const before = this.vocabulary.tokenize(text, false, false);
    if (suffix === undefined) return before;
    if (infill === undefined) {
      throw new GatewayError(
        'invalid_request',
        'This model was not taught to fill a gap: leave suffix out, or ask a model that was, such as Qwen2.5-Coder, DeepSeek-Coder, StarCoder2 or CodeLlama.',
        { param: 'suffix' },
      );
    }
    const behind = this.vocabulary.tokenize(suffix, false, true);
    return [infill.prefix, ...before, infill.suffix, ...behind, infill.middle];
  }

  /** The tokens of an answer's beginning, behind a prompt of this builder. Together they may be more than the window. */
  continueWith(
    begun: { readonly text: string; readonly reasoning: string },
    { beginsInReasoning }: PromptTokens,
  ): readonly number[] {
    const { written, words } = writtenAnswer(begun, this.thinks ? { beginsInReasoning } : undefined);
    return this.controls
      .split(written, words)
      .flatMap((piece) => this.vocabulary.tokenize(piece.text, piece.special, true));
  }

  /** What the template gets besides the messages. */
  private settings({ enableThinking, tools }: Extract<EnginePrompt, { kind: 'messages' }>): TemplateSettings {
    return {
      ...(enableThinking === undefined ? {} : { enable_thinking: enableThinking }),
      ...(tools === undefined ? {} : { tools: this.safeTools(tools) }),
    };
  }

  private safeTools({ definitions }: EngineTools): readonly unknown[] {
    if (this.callForm !== undefined) return definitions.map((one) => this.controls.breakDeep(one));
    throw new GatewayError(
      'invalid_request',
      'This model cannot call tools: its chat template has no place for them, or its calls are written in a way that is not known here.',
      { param: 'tools' },
    );
  }

  private refuseTooLong(count: number, param: string): void {
    if (count < this.contextTokens) return;
    throw new GatewayError(
      'context_length_exceeded',
      `This prompt has ${count} tokens; the context window is ${this.contextTokens} tokens and must also hold the answer.`,
      { param },
    );
  }

  /** Some templates write the mark themselves; a second one makes models worse. */
  private withBos(tokens: readonly number[]): readonly number[] {
    const { bos, prependBos } = this.vocabulary;
    return !prependBos || bos === undefined || tokens[0] === bos ? tokens : [bos, ...tokens];
  }

  /** The rendered text, and the pieces of it to tokenize with and without control tokens. */
  private renderPieces(
    messages: readonly EngineMessage[],
    settings: TemplateSettings,
  ): { text: string; pieces: readonly Piece[] } {
    // Names and tool calls are short and rarely matter: breaking their look-alikes at once keeps the rest simple.
    const safe = messages.map((message) => ({
      ...message,
      name: message.name === undefined ? undefined : this.controls.breakLookAlikes(message.name),
      toolCallId:
        message.toolCallId === undefined ? undefined : this.controls.breakLookAlikes(message.toolCallId),
      toolCalls: message.toolCalls?.map((call) => this.controls.breakDeep(call)),
    }));
    const text = this.renderTemplate(safe, settings);
    const written = messages.flatMap((message) => [message.content, message.reasoning ?? '']);
    if (!written.some((content) => this.controls.mayTouch(content))) {
      return { text, pieces: [{ text, special: true }] };
    }
    const spans = this.findWritten(safe, settings, text);
    if (spans !== undefined) return { text, pieces: this.controls.split(text, spans) };
    // The template looks into the contents, so their places cannot be known: make the look-alikes harmless instead.
    const broken = this.renderTemplate(
      safe.map((message) => ({
        ...message,
        content: this.controls.breakLookAlikes(message.content),
        reasoning:
          message.reasoning === undefined ? undefined : this.controls.breakLookAlikes(message.reasoning),
      })),
      settings,
    );
    return { text: broken, pieces: [{ text: broken, special: true }] };
  }

  /**
   * Where the rendered text holds what clients wrote: rendered again with a placeholder for each content. The white
   * space around a content stays outside its placeholder, so that templates which trim do as they did. Undefined when
   * putting the contents back does not give the same text.
   */
  private findWritten(
    messages: readonly EngineMessage[],
    settings: TemplateSettings,
    text: string,
  ): readonly Span[] | undefined {
    const contents: string[] = [];
    const nonce = `\uE000${randomUUID()}\uE001`;
    const placeholder = (content: string): string => {
      const core = content.trim();
      if (core === '') return content;
      contents.push(core);
      const start = content.indexOf(core);
      return `${content.slice(0, start)}${nonce}${contents.length - 1}\uE002${content.slice(start + core.length)}`;
    };
    const hidden = messages.map((message) => ({
      ...message,
      content: placeholder(message.content),
      reasoning: message.reasoning === undefined ? undefined : placeholder(message.reasoning),
    }));
    let rendered: string;
    try {
      rendered = this.renderTemplate(hidden, settings);
    } catch {
      return undefined;
    }
    const spans: Span[] = [];
    let rebuilt = '';
    for (const [index, part] of rendered.split(nonce).entries()) {
      if (index === 0) {
        rebuilt = part;
        continue;
      }
      const end = part.indexOf('\uE002');
      const content = end < 0 ? undefined : contents[Number(part.slice(0, end))];
      if (content === undefined) return undefined;
      spans.push({ start: rebuilt.length, end: rebuilt.length + content.length });
      rebuilt += content + part.slice(end + 1);
    }
    return rebuilt === text ? spans : undefined;
  }

  private renderTemplate(messages: readonly EngineMessage[], settings: TemplateSettings): string {
    if (this.template === undefined) {
      throw new GatewayError(
        'invalid_request',
        "This model's file has no chat template: it only continues a text (/v1/completions).",
        { param: 'messages' },
      );
    }
    try {
      return this.template.render({
        messages: messages.map((message) => toTemplateMessage(message, this.callForm)),
        add_generation_prompt: true,
        bos_token: this.vocabulary.bosText,
        eos_token: this.vocabulary.eosText,
        ...settings,
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new GatewayError(
        'invalid_request',
        `The model's chat template refuses these messages: ${reason}`,
        {
          param: 'messages',
          cause: error,
        },
      );
    }
  }
}

/** The names that templates know; what is absent is left out, because templates test for being defined. */
function toTemplateMessage(message: EngineMessage, form: CallForm | undefined): Record<string, unknown> {
  const { role, content, reasoning, name, toolCallId, toolCalls } = message;
  return {
    role,
    content,
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(name === undefined ? {} : { name }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
    ...(toolCalls === undefined || toolCalls.length === 0
      ? {}
      : { tool_calls: toolCalls.map((call) => withArguments(call, form)) }),
  };
}

/** Clients send arguments as a text of JSON; many templates write out an object, and would quote the text again. */
function withArguments(call: unknown, form: CallForm | undefined): unknown {
  if (form === undefined || form.takesText || typeof call !== 'object' || call === null) return call;
  const inner = (call as { readonly function?: unknown }).function;
  if (typeof inner !== 'object' || inner === null) return call;
  const { arguments: text } = inner as { readonly arguments?: unknown };
  if (typeof text !== 'string') return call;
  try {
    return { ...call, function: { ...inner, arguments: JSON.parse(text) } };
  } catch {
    // As broken as an earlier answer was.
    return call;
  }
}
