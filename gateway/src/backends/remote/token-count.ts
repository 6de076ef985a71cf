// How many tokens a server makes of a conversation, where its kind can be asked: with its own template around it.
// What it answers is looked at and never trusted: anything but a count is no answer.
import type { ChatRequest } from '../../core/chat.ts';
import { tokenCount } from './answer-parts.ts';
import { openAiBody } from './openai-request.ts';
import { shortExchange } from './short-exchange.ts';
import type { Transport } from './transport.ts';
import { jsonIn, membersOf } from './upstream-json.ts';
import type { Traits } from './vendors.ts';

export interface TokenCountOptions {
  /** Of its API, without a slash at its end; what counts stands beside it. */
  readonly basePath: string;
  readonly traits: Traits;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** Undefined: it cannot say. Rejects as an exchange does. */
export async function countTokens(
  transport: Transport,
  request: ChatRequest,
  options: TokenCountOptions,
): Promise<number | undefined> {
  if (options.traits.tokenCount === undefined) return undefined;
  const { model, messages, prompt, tools, chat_template_kwargs } = openAiBody(
    request,
    options.traits,
    undefined,
  );
  const post = async (path: string, body: object) => {
    const { basePath, headers, signal } = options;
    const root = basePath.replace(/\/v\d+$/, '');
    const whole = { method: 'POST', path: root + path, headers, body: JSON.stringify(body), signal } as const;
    const { status, body: answer } = await shortExchange(transport, whole);
    return status === 200 ? membersOf(jsonIn(answer)) : {};
  };
  switch (options.traits.tokenCount) {
    case 'vllm': {
      const text = messages === undefined ? { prompt } : { messages, tools, chat_template_kwargs };
      return tokenCount((await post('/tokenize', { model, ...text })).count);
    }
    case 'llama.cpp': {
      const content =
        prompt ?? (await post('/apply-template', { messages, tools, chat_template_kwargs })).prompt;
      if (typeof content !== 'string') return undefined;
      const { tokens } = await post('/tokenize', { content, add_special: true, parse_special: true });
      return Array.isArray(tokens) ? tokens.length : undefined;
    }
  }
}
