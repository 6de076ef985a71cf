// What a shortened conversation gains: 20 turns on the embedded engine, whole and trimmed, in one run and by turns. Once as
// the conversation grows, where the engine still has what it computed for the turn before, and once as one that comes back
// to an engine that never saw it.
import { setTimeout as sleep } from 'node:timers/promises';
import { plot } from '../../gateway/src/figures/plot.ts';
import { median, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { ask, type Seen } from '../chat-load.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { shortQuestion, systemMessage } from '../workload.ts';

const ROUNDS = 3;
const TURNS = 20;
const SYSTEM_TOKENS = 300;
const ANSWER_TOKENS = 64;
/** As `trim.max_tokens` counts them: by the text's length. */
const KEPT_TOKENS = 1_000;
const SIDES = ['whole', 'trimmed'] as const;
type Side = (typeof SIDES)[number];
/** After an answer: the engine keeps a prompt's beginning only once it has nothing else to do. */
const REST_MS = 200;

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const sluice = await startSluice({
    model: file,
    log_level: 'silent',
    engine: { threads: 1 },
    models: [{ id: 'whole' }, { id: 'trimmed', trim: { max_tokens: KEPT_TOKENS, always: true } }],
  });
  const growing: Record<Side, Seen[][]> = { whole: [], trimmed: [] };
  const returning: Record<Side, Seen[]> = { whole: [], trimmed: [] };
  const first = async (model: Side, messages: readonly Message[]) => {
    await sleep(REST_MS);
    return await ask(sluice.port, { system: '', user: '', maxTokens: 2, extra: { model, messages } });
  };
  let variant = 0;
  try {
    await first('whole', conversation(0, 1));
    for (let round = 0; round < rounds; round += 1) {
      const sides = round % 2 === 0 ? SIDES : SIDES.toReversed();
      for (const side of sides) {
        variant += 1;
        const turns: Seen[] = [];
        for (let turn = 1; turn <= TURNS; turn += 1)
          turns.push(await first(side, conversation(variant, turn)));
        growing[side].push(turns);
      }
      for (const side of sides) {
        variant += 1;
        returning[side].push(await first(side, conversation(variant, TURNS)));
      }
    }
  } finally {
    await sluice.stop();
  }
  return {
    unit: `ms to the first token, one request at a time, one thread, ${rounds} conversations of ${TURNS} turns a side`,
    model: modelIn(file),
    keptTokens: KEPT_TOKENS,
    growing: Object.fromEntries(SIDES.map((side) => [side, ofConversations(growing[side])])),
    returning: Object.fromEntries(SIDES.map((side) => [side, ofRequests(returning[side])])),
  };
}

/** Its first `turns` turns, the last one not answered yet. Of a user's own for each `variant`. */
function conversation(variant: number, turns: number): Message[] {
  const messages: Message[] = [{ role: 'system', content: systemMessage(SYSTEM_TOKENS, variant * 7) }];
  for (let turn = 1; turn <= turns; turn += 1) {
    const number = variant * 1_000 + turn;
    messages.push({ role: 'user', content: shortQuestion(number) });
    if (turn < turns) messages.push({ role: 'assistant', content: systemMessage(ANSWER_TOKENS, number) });
  }
  return messages;
}

interface Growing {
  /** Over the turns of a conversation. */
  readonly firstP50Ms: Spread;
  readonly byTurn: readonly { readonly turn: number; readonly firstMs: Spread }[];
}

function ofConversations(conversations: readonly (readonly Seen[])[]) {
  const ofTurn = (turn: number) => conversations.map((turns) => turns[turn]!);
  return {
    firstP50Ms: spreadOf(conversations.map((turns) => median(turns.map(({ firstMs }) => firstMs)))),
    lastTurn: ofRequests(ofTurn(TURNS - 1)),
    byTurn: Array.from({ length: TURNS }, (_, turn) => ({ turn: turn + 1, ...ofRequests(ofTurn(turn)) })),
  };
}

function ofRequests(requests: readonly Seen[]) {
  return {
    firstMs: spreadOf(requests.map(({ firstMs }) => firstMs)),
    promptTokens: rounded(median(requests.map(({ promptTokens }) => promptTokens))),
    cachedTokens: rounded(median(requests.map(({ cachedTokens = 0 }) => cachedTokens))),
  };
}

export function draw({ growing }: { readonly growing: Readonly<Record<Side, Growing>> }): string {
  const panel = {
    title: 'First token, turn by turn',
    xLabel: 'turn of the conversation',
    yLabel: 'ms',
    x: growing.whole.byTurn.map(({ turn }) => turn),
    series: SIDES.map((side) => ({
      name: side,
      values: growing[side].byTurn.map(({ firstMs }) => firstMs),
    })),
  };
  return plot(`A conversation of ${TURNS} turns, whole and trimmed`, [panel]);
}
