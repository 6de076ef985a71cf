// The probabilities of an answer's tokens as OpenAI's dialects write them.
// It must never make up what was not told: a token's bytes are its text's, unless it came with its own.
import type { TokenChance, TokenLogprob } from '../core/chat.ts';

/** `choices[].logprobs` of a chat completion. */
export function chatLogprobs(logprobs: readonly TokenLogprob[]): object {
  return { content: tokenLogprobs(logprobs), refusal: null };
}

/** One item a token: `logprobs` of a part of a response. */
export function tokenLogprobs(logprobs: readonly TokenLogprob[]): readonly object[] {
  return logprobs.map((one) => ({ ...chance(one), top_logprobs: one.top.map(chance) }));
}

/** `choices[].logprobs` of a text completion: lists side by side, one item a token. */
export function completionLogprobs(logprobs: readonly TokenLogprob[]): object {
  return {
    tokens: logprobs.map(nameOf),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(likeliest),
    text_offset: logprobs.map(({ offset }) => offset),
  };
}

function chance({ token, bytes, logprob }: TokenChance): object {
  return { token, logprob, bytes: bytes ?? [...Buffer.from(token)] };
}

/** By name, the token itself always among them. Where two have one name, the likelier has it. */
function likeliest(one: TokenLogprob): object {
  const named = new Map<string, number>();
  for (const other of [...one.top, one]) {
    const name = nameOf(other);
    if (!named.has(name)) named.set(name, other.logprob);
  }
  return Object.fromEntries(named);
}

/** This dialect has no member for bytes: where a token is a part of a character, its name spells them. */
function nameOf({ token, bytes }: TokenChance): string {
  if (bytes === undefined) return token;
  return `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
}
