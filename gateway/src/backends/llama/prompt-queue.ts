// Which of the prompts that are not yet computed is computed next, so that none waits long and none computes what
// another is computing at this moment.
// Pure: it chooses; the driver feeds.
import { commonPrefix, LEAST_GAIN_TOKENS } from './sequences.ts';

/** A prompt as the choice sees it. */
export interface QueuedPrompt {
  readonly tenant: string;
  readonly tokens: readonly number[];
  /** Prompt tokens in the cache. */
  fed: number;
  /** Prompt tokens that a kept prefix would give. */
  covered: number;
  /** Where its state is to be kept for others, in prompt tokens. */
  keepAt: number | undefined;
  waitedTicks: number;
}

/** How many tokens of another's prompt a waiting prompt lets pass, per tick that it waited. */
const PATIENCE_TOKENS = 32;

/** The shortest rest first, but what waits gains on what comes later: in a burst the last one's first token is the slowest. */
export function nextPrompt<P extends QueuedPrompt>(waiting: Iterable<P>): P | undefined {
  let best: P | undefined;
  for (const prompt of waiting) if (best === undefined || rank(prompt) < rank(best)) best = prompt;
  return best === undefined ? undefined : (pioneerFor(best, waiting) ?? best);
}

/** Tokens still to compute. */
export function remaining(prompt: QueuedPrompt): number {
  return prompt.tokens.length - prompt.fed;
}

/** Whether a kept prefix would save it a good part of its work. */
export function gainsFromKept(prompt: QueuedPrompt): boolean {
  return prompt.covered >= prompt.fed + LEAST_GAIN_TOKENS;
}

function rank(prompt: QueuedPrompt): number {
  return prompt.tokens.length - Math.max(prompt.fed, prompt.covered) - prompt.waitedTicks * PATIENCE_TOKENS;
}

/** Another that is further on in a beginning that both share and that will be kept: the rest of it is had for nothing. */
function pioneerFor<P extends QueuedPrompt>(prompt: P, waiting: Iterable<P>): P | undefined {
  for (const other of waiting) {
    if (other === prompt || other.tenant !== prompt.tenant) continue;
    if (other.keepAt === undefined || other.fed <= prompt.fed || other.fed >= other.keepAt) continue;
    if (commonPrefix(other.tokens, prompt.tokens) >= prompt.fed + LEAST_GAIN_TOKENS) return other;
  }
  return undefined;
}
