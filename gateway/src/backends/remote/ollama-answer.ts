// Reads an answer of Ollama's own dialect, `/api/chat` or `/api/generate`: one JSON object a line, the last of them with
// `done`.
import type { Usage } from '../../core/chat.ts';
import { type AnswerParts, tokenCount } from './answer-parts.ts';
import type { ChoiceParts } from './choice-parts.ts';
import { PieceAnswer, type PieceDialect } from './piece-answer.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { upstreamCalls } from './upstream-calls.ts';
import { itemsOf, type Members, membersOf, parseExactly } from './upstream-json.ts';

const OLLAMA: PieceDialect = {
  say: (line, parts, text) => {
    if (line.message) sayMessage(line, parts, text);
    else if (typeof line.response === 'string') sayWords(line, parts, line.response, line.thinking);
  },
  // Its own word for an end is often absent, and always is in older versions.
  endOf: ({ done, done_reason }) => (done === true ? (done_reason ?? 'stop') : undefined),
  usageOf,
};

export function ollamaAnswer(options: AnswerOptions): UpstreamAnswer {
  return new PieceAnswer(OLLAMA, options);
}

function sayWords({ model }: Members, parts: AnswerParts, said: unknown, thought: unknown): ChoiceParts {
  parts.start(model);
  const choice = parts.choice(0);
  if (typeof thought === 'string' && thought !== '') choice.reasoning(thought);
  if (typeof said === 'string' && said !== '') choice.text(said);
  return choice;
}

function sayMessage(line: Members, parts: AnswerParts, text: string): void {
  const { thinking, content, tool_calls } = membersOf(line.message);
  const choice = sayWords(line, parts, content, thinking);
  if (!tool_calls) return;
  const exactly = () => itemsOf(membersOf(membersOf(parseExactly(text)).message).tool_calls);
  // Each is a whole call, whatever number it has.
  for (const call of upstreamCalls(itemsOf(tool_calls), true, exactly)) choice.call(call);
}

function usageOf({ prompt_eval_count, eval_count }: Members): Usage {
  return { promptTokens: tokenCount(prompt_eval_count), completionTokens: tokenCount(eval_count) };
}
