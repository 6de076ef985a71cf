// The prompts of the engine's benchmarks: a long system message that many share, and a question of one's own.
// Lengths are in tokens of the small model's vocabulary, near enough; the figures state what was really counted.
import type { Chat } from './chat-load.ts';

const TOPICS = [
  'harbours',
  'bridges',
  'gardens',
  'clocks',
  'rivers',
  'markets',
  'towers',
  'islands',
  'forests',
  'mills',
];
/** Tokens of one sentence of a system message. */
const SENTENCE_TOKENS = 18;

/** About `tokens` long, and different from the first words on for each `variant`. */
export function systemMessage(tokens: number, variant: number): string {
  const sentences = Math.max(1, Math.round(tokens / SENTENCE_TOKENS));
  return Array.from(
    { length: sentences },
    (_, index) =>
      `In case ${digits(variant * 101 + index)} you speak of the ${topic(variant + index)} in kind words.`,
  ).join(' ');
}

/** About 20 tokens, as a customer types them. */
export function shortQuestion(variant: number): string {
  return `Number ${variant}: what do you know about the ${topic(variant)} of this town?`;
}

/** About 70 tokens, which ask for a long answer. */
export function question(variant: number): string {
  return (
    `Here is number ${variant}. Write a long story about the ${topic(variant)} of a town where ${variant % 89} people ` +
    `live. Begin with the morning, when the bells ring and the doors open, go on with what the people say to each ` +
    `other at noon, and do not stop before the night has come. Please take your time and write as much as you can.`
  );
}

export function chat(systemTokens: number, systemVariant: number, variant: number, maxTokens = 64): Chat {
  return { system: systemMessage(systemTokens, systemVariant), user: question(variant), maxTokens };
}

/** Always six, because each is a token. */
function digits(number: number): string {
  return String(number).padStart(6, '0');
}

function topic(index: number): string {
  return TOPICS[index % TOPICS.length]!;
}
