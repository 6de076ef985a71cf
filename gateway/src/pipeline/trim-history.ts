// A long conversation, shortened to its beginning and its end. The rule: what the system and the developer say stays; of the
// turns the oldest go first, whole, until the rest is within the budget; the last turn always stays. A turn is what a user
// says and all that follows from it, so a question never goes without its answer, nor a call without its result.
// Nothing is rewritten. Pure.
import { type Message, type Prompt, promptUnits } from '../core/chat.ts';
import { UNITS_PER_TOKEN } from '../scheduling/cost.ts';

/**
 * What goes is a multiple of this part of what the budget leaves for turns. If each new turn pushed out one more of the oldest, every prompt would
 * differ from the one before right behind the system message, and nothing that was computed for that could be used again.
 */
const STEP_SHARE = 0.5;

/** The prompt with fewer turns; undefined: it is within the budget, or nothing of it may go. `maxTokens` is estimated. */
export function trimmedPrompt(prompt: Prompt, maxTokens: number): Prompt | undefined {
  if (prompt.kind !== 'messages') return undefined;
  const { messages } = prompt;
  const turns = turnsOf(messages);
  const last = turns.findLast((turn) => turn !== undefined) ?? 0;
  const unitsOfTurn = Array<number>(last + 1).fill(0);
  let units = 0;
  let instructions = 0;
  for (const [place, message] of messages.entries()) {
    const size = unitsOf(message);
    const turn = turns[place];
    if (turn === undefined) instructions += size;
    else unitsOfTurn[turn]! += size;
    units += size;
  }
  const budget = maxTokens * UNITS_PER_TOKEN;
  if (units <= budget) return undefined;
  const step = (budget - instructions) * STEP_SHARE;
  let excess = step > 0 ? Math.ceil((units - budget) / step) * step : Infinity;
  let first = 0;
  while (first < last && excess > 0) {
    excess -= unitsOfTurn[first]!;
    first += 1;
  }
  const kept = messages.filter((_, place) => turns[place] === undefined || turns[place] >= first);
  return kept.length === messages.length ? undefined : { kind: 'messages', messages: kept };
}

/** For each message the number of its turn, the oldest is 0; undefined: it belongs to none. */
function turnsOf(messages: readonly Message[]): (number | undefined)[] {
  const begins = beginnings(messages);
  let turn = 0;
  let hasAny = false;
  return messages.map((message, place) => {
    if (isInstruction(message)) return undefined;
    if (hasAny && begins[place]) turn += 1;
    hasAny = true;
    return turn;
  });
}

/** Where a turn begins: at a user's first word, unless the result of an earlier call is still to come. */
function beginnings(messages: readonly Message[]): boolean[] {
  let before: Message | undefined;
  const begins = messages.map((message) => {
    if (isInstruction(message)) return false;
    const isFirst = message.role === 'user' && before?.role !== 'user';
    before = message;
    return isFirst;
  });
  const callers = callersOf(messages);
  let earliest = Infinity;
  for (let place = messages.length - 1; place >= 0; place -= 1) {
    earliest = Math.min(earliest, callers[place] ?? Infinity);
    if (earliest < place) begins[place] = false;
  }
  return begins;
}

/** For a call's result the place of the call; ids may be used again, the last call counts. */
function callersOf(messages: readonly Message[]): (number | undefined)[] {
  const places = new Map<unknown, number>();
  return messages.map(({ toolCalls = [], toolCallId }, place) => {
    for (const call of toolCalls) places.set((call as { id?: unknown } | null)?.id, place);
    return toolCallId === undefined ? undefined : places.get(toolCallId);
  });
}

function isInstruction({ role }: Message): boolean {
  return role === 'system' || role === 'developer';
}

/** In UTF-16 units, with what a template shows beside the text. */
function unitsOf(message: Message): number {
  const { reasoning = '', toolCalls } = message;
  const calls = toolCalls === undefined ? 0 : JSON.stringify(toolCalls).length;
  return promptUnits({ kind: 'messages', messages: [message] }) + reasoning.length + calls;
}
