// The probabilities of an answer's tokens as other servers tell them, in both of OpenAI's dialects.
// It must never give out a number that JSON does not know, nor more candidates than were asked for.
// Pure.
import type { TokenChance } from '../../core/chat.ts';
import { itemsOf, membersOf } from './upstream-json.ts';

/** A token, and the likeliest at its place; where it stands in the text is not known yet. */
export interface ReadToken extends TokenChance {
  readonly top: readonly TokenChance[];
}

/** "Never": minus infinity, or what was no number at all. */
const NEVER = -9999;

/** How text completions name a token that is a part of a character. */
const BYTES_NAME = /^bytes:(?:\\x[0-9a-f]{2})+$/i;

/** Of a choice's `logprobs`; `most`: candidates of a token. Empty where there are none. */
export function readLogprobs(value: unknown, most: number): readonly ReadToken[] {
  const { content, tokens, token_logprobs, top_logprobs } = membersOf(value);
  if (Array.isArray(content)) return content.map((token) => chatToken(token, most));
  const chances = itemsOf(token_logprobs);
  const tops = itemsOf(top_logprobs);
  return itemsOf(tokens).map((name, index) => ({
    ...namedToken(name, chances[index]),
    top: Object.entries(membersOf(tops[index]))
      .map(([other, logprob]) => namedToken(other, logprob))
      .sort((a, b) => b.logprob - a.logprob)
      .slice(0, most),
  }));
}

function chatToken(value: unknown, most: number): ReadToken {
  const members = membersOf(value);
  return { ...chance(members), top: itemsOf(members.top_logprobs).slice(0, most).map(chance) };
}

function chance(value: unknown): TokenChance {
  const { token, logprob, bytes } = membersOf(value);
  return chanceOf(token, logprob, bytes);
}

function namedToken(name: unknown, logprob: unknown): TokenChance {
  if (typeof name !== 'string' || !BYTES_NAME.test(name)) return chanceOf(name, logprob, undefined);
  const bytes = Buffer.from(name.slice('bytes:'.length).replaceAll(/\\x/gi, ''), 'hex');
  return chanceOf(bytes.toString('utf8'), logprob, [...bytes]);
}

function chanceOf(name: unknown, value: unknown, bytes: unknown): TokenChance {
  const token = typeof name === 'string' ? name.toWellFormed() : '';
  const logprob = typeof value === 'number' && Number.isFinite(value) ? value : NEVER;
  const own = bytesOf(bytes);
  // They are worth keeping only where the token's text does not tell them.
  return own === undefined || Buffer.from(token).equals(Buffer.from(own))
    ? { token, logprob }
    : { token, logprob, bytes: own };
}

function bytesOf(value: unknown): readonly number[] | undefined {
  const bytes = itemsOf(value);
  const areBytes = bytes.every((byte) => Number.isInteger(byte) && Number(byte) >= 0 && Number(byte) <= 255);
  return bytes.length > 0 && areBytes ? (bytes as readonly number[]) : undefined;
}
