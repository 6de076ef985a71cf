// A request as OpenAI's dialect has it, in the words of the server that gets it: what a vendor calls otherwise is said in
// its row of vendors.ts. What the client did not say is not said here either, and its unknown fields travel untouched.
// Pure: it makes text.
import type { ChatRequest, Message, Sampling, ToolChoice } from '../../core/chat.ts';
import { samplingFields } from './sampling-fields.ts';
import type { Traits } from './vendors.ts';

export interface UpstreamText {
  /** Beginning with a slash. */
  readonly path: string;
  /** JSON. */
  readonly body: string;
}

/** `prefix`: the text to go on from, where the answer was begun. `basePath`: of the server's API, without a slash at its end. */
export function openAiRequest(
  request: ChatRequest,
  traits: Traits,
  basePath: string,
  prefix: string | undefined,
): UpstreamText {
  const body = JSON.stringify(openAiBody(request, traits, prefix));
  return { path: pathOf(request, traits, basePath, prefix), body };
}

function pathOf(
  { prompt }: ChatRequest,
  { infill, prefill }: Traits,
  basePath: string,
  prefix: string | undefined,
): string {
  if (prompt.kind === 'messages') {
    const prefixPath = prefix === undefined ? undefined : prefill?.pathPrefix;
    return `${prefixPath ?? basePath}/chat/completions`;
  }
  const infillPath = prompt.suffix !== undefined && infill?.way === 'suffix' ? infill.pathPrefix : undefined;
  return `${infillPath ?? basePath}/completions`;
}

/** The body before it is written as JSON. */
export function openAiBody(request: ChatRequest, traits: Traits, prefix: string | undefined): Members {
  const { prompt } = request;
  const body: Record<string, unknown> = { model: request.model };
  if (prompt.kind === 'text') {
    body.prompt = prompt.text + (prefix ?? '');
    if (prompt.suffix !== undefined) body.suffix = prompt.suffix;
  } else {
    const prefill = prefix === undefined ? undefined : traits.prefill;
    body.messages = messagesOf(prompt.messages, traits);
    if (prefill) {
      (body.messages as object[]).push({
        role: 'assistant',
        content: prefix,
        ...(prefill.reasoningField && reasoningSoFar(request, prefill.reasoningField)),
        ...prefill.message,
      });
      Object.assign(body, prefill.body);
    }
  }
  addSampling(body, request.sampling);
  const limit = tokensLeft(request);
  if (limit !== undefined) body[prompt.kind === 'text' ? 'max_tokens' : traits.limitField] = limit;
  if (request.stop.length > 0) body.stop = request.stop;
  if (request.choices > 1) body.n = request.choices;
  if (request.logprobs !== undefined) {
    if (prompt.kind === 'text') body.logprobs = request.logprobs;
    else {
      body.logprobs = true;
      if (request.logprobs > 0) body.top_logprobs = request.logprobs;
    }
  }
  addTools(body, request);
  // After the sampling: a seed that no number can hold is here, digit by digit.
  Object.assign(body, thinkingOf(request.extra, traits));
  body.stream = request.isWhole !== true;
  if (body.stream === true && traits.streamOptions) body.stream_options = traits.streamOptions;
  return body;
}

/** What is left of the answer's limit, where a part of it was given already; undefined: it has none. */
export function tokensLeft({ maxTokens, continueFrom }: ChatRequest): number | undefined {
  if (maxTokens === undefined) return undefined;
  return Math.max(1, maxTokens - (continueFrom?.choices[0]?.pieces ?? 0));
}

/** Whether the client switched thinking on or off, in any vendor's words; undefined: it did not say. */
export function thinkingAsked(extra: ChatRequest['extra']): boolean | undefined {
  if (typeof extra.enable_thinking === 'boolean') return extra.enable_thinking;
  const { thinking, chat_template_kwargs: kwargs } = extra as Readonly<Record<string, Members | undefined>>;
  if (thinking?.type === 'enabled' || thinking?.type === 'disabled') return thinking.type === 'enabled';
  const asked = kwargs?.enable_thinking ?? kwargs?.thinking;
  return typeof asked === 'boolean' ? asked : undefined;
}

type Members = Readonly<Record<string, unknown>>;

/** The client's unknown fields, with its switch for thinking in the server's words. */
function thinkingOf(extra: ChatRequest['extra'], { thinkingSwitch }: Traits): Members {
  const asked = thinkingAsked(extra);
  if (asked === undefined || thinkingSwitch === undefined) return extra;
  const { enable_thinking, thinking, chat_template_kwargs, ...rest } = extra;
  switch (thinkingSwitch) {
    case 'enable_thinking':
      return {
        ...rest,
        ...(chat_template_kwargs !== undefined && { chat_template_kwargs }),
        enable_thinking: asked,
      };
    case 'thinking':
      return {
        ...rest,
        thinking: { ...(thinking as object | undefined), type: asked ? 'enabled' : 'disabled' },
      };
    case 'chat_template_kwargs':
      // Qwen's templates know the first name, DeepSeek's the second; an unknown one does no harm.
      return {
        ...rest,
        chat_template_kwargs: {
          ...(chat_template_kwargs as object | undefined),
          enable_thinking: asked,
          thinking: asked,
        },
      };
  }
}

function addSampling(body: Record<string, unknown>, sampling: Sampling): void {
  const fields: Readonly<Record<string, unknown>> = samplingFields(sampling);
  for (const name in fields) if (fields[name] !== undefined) body[name] = fields[name];
  if (sampling.repetitionPenalty !== undefined) body.repetition_penalty = sampling.repetitionPenalty;
}

function addTools(body: Record<string, unknown>, request: ChatRequest): void {
  if (request.responseFormat) body.response_format = request.responseFormat.original;
  if (request.tools) body.tools = request.tools.map((tool) => tool.original);
  if (request.toolChoice !== undefined && request.tools) body.tool_choice = toolChoiceOf(request.toolChoice);
  if (request.parallelToolCalls !== undefined) body.parallel_tool_calls = request.parallelToolCalls;
}

function toolChoiceOf(choice: ToolChoice): unknown {
  return typeof choice === 'string' ? choice : { type: 'function', function: { name: choice.name } };
}

function messagesOf(messages: readonly Message[], traits: Traits): object[] {
  const inToolTurn = traits.historyReasoning === 'tool-turns' ? toolTurns(messages) : undefined;
  return messages.map((message, index) => {
    const keeps = traits.historyReasoning === 'keep' || (inToolTurn?.[index] ?? false);
    return messageBody(message, keeps ? traits.reasoningField : undefined);
  });
}

function messageBody(message: Message, reasoningField: string | undefined): object {
  const { role, content, reasoning, name, toolCallId, toolCalls, extra } = message;
  const body: Record<string, unknown> = { role, content: contentOf(content) };
  if (reasoning !== undefined && reasoningField !== undefined) body[reasoningField] = reasoning;
  if (name !== undefined) body.name = name;
  if (toolCallId !== undefined) body.tool_call_id = toolCallId;
  if (toolCalls !== undefined) body.tool_calls = toolCalls;
  return extra ? Object.assign(body, extra) : body;
}

function contentOf(content: Message['content']): unknown {
  if (content === null || typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? { type: 'text', text: part.text } : part.value));
}

/** For each message: whether an assistant calls tools between the user's message before it and the next one. */
function toolTurns(messages: readonly Message[]): boolean[] {
  const inTurn: boolean[] = new Array(messages.length).fill(false);
  let start = 0;
  for (let at = 0; at <= messages.length; at += 1) {
    if (at < messages.length && messages[at]!.role !== 'user') continue;
    const turn = messages.slice(start, at);
    if (turn.some(({ toolCalls }) => toolCalls !== undefined)) inTurn.fill(true, start, at);
    start = at;
  }
  return inTurn;
}

function reasoningSoFar({ continueFrom }: ChatRequest, field: string): object {
  const reasoning = continueFrom?.choices[0]?.reasoning;
  return reasoning ? { [field]: reasoning } : {};
}
