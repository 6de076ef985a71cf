// What a token costs more when it is sampled, or held to a JSON schema, than when it is the likeliest: one answer alone
// and eight at once, in turns.

import { plot } from '../../gateway/src/figures/plot.ts';
import { median, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { closedLoop, Refusal, type Seen } from '../chat-load.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { question, systemMessage } from '../workload.ts';

const ROUNDS = 5;
const STREAMS = [1, 8];
/** So many that eight answers run side by side for a good while after the last one's prompt is computed. */
const MAX_TOKENS = 128;

/** More fields than MAX_TOKENS can fill, so that no answer ends early. */
const HOURS = Array.from({ length: 16 }, (_, index) => `hour${index + 6}`);
const SCHEMA = {
  type: 'object',
  properties: Object.fromEntries(HOURS.map((hour) => [hour, { type: 'string' }])),
  required: HOURS,
  additionalProperties: false,
};
const GREEDY = 'greedy';
const WAYS: Readonly<Record<string, object>> = {
  [GREEDY]: {},
  sampled: { temperature: 0.6, top_p: 0.95, seed: 7 },
  schema: { response_format: { type: 'json_schema', json_schema: { name: 'day', schema: SCHEMA } } },
};

interface Figures {
  readonly msPerToken: Spread;
  /** Over greedy, round by round; at several streams, of all their tokens of one step together. */
  readonly moreMs: Spread;
  readonly fewestNewTokens: number;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const sluice = await startSluice({ model: file, log_level: 'silent', engine: { threads: 1 } });
  const skipped: Record<string, string> = {};
  const figures: Record<string, Record<string, Figures>> = {};
  try {
    for (const [way, extra] of Object.entries(WAYS)) {
      try {
        await measure(sluice.port, STREAMS.at(-1)!, extra, 0);
      } catch (error) {
        if (way === GREEDY || !(error instanceof Refusal)) throw error;
        skipped[way] = `status ${error.status}: ${error.message}`;
      }
    }
    const ways = Object.entries(WAYS).filter(([way]) => skipped[way] === undefined);
    for (const streams of STREAMS) {
      const taken = new Map(ways.map(([way]) => [way, [] as Measured[]]));
      for (let round = 1; round <= rounds; round += 1) {
        for (const [way, extra] of ways) {
          taken.get(way)!.push(await measure(sluice.port, streams, extra, round));
        }
      }
      const greedy = taken.get(GREEDY)!;
      figures[`streams${streams}`] = Object.fromEntries(
        [...taken].map(([way, all]) => [
          way,
          {
            msPerToken: spreadOf(
              all.map(({ msPerToken }) => msPerToken),
              2,
            ),
            moreMs: spreadOf(
              all.map(({ msPerToken }, round) => msPerToken - greedy[round]!.msPerToken),
              2,
            ),
            fewestNewTokens: Math.min(...all.map(({ fewestNewTokens }) => fewestNewTokens)),
          },
        ]),
      );
    }
  } finally {
    await sluice.stop();
  }
  return {
    unit: `ms from one token of an answer to its next, up to ${MAX_TOKENS} tokens, one thread, ${rounds} rounds`,
    model: modelIn(file),
    skipped,
    ...figures,
  };
}

interface Measured {
  readonly msPerToken: number;
  readonly fewestNewTokens: number;
}

async function measure(port: number, streams: number, extra: object, round: number): Promise<Measured> {
  const chats = Array.from({ length: streams }, (_, index) => [
    { system: systemMessage(14, 1), user: question(round * 100 + index), maxTokens: MAX_TOKENS, extra },
  ]);
  const { seen } = await closedLoop(port, chats);
  return {
    msPerToken: msPerToken(seen),
    fewestNewTokens: Math.min(...seen.map(({ tokens }) => tokens)),
  };
}

/** While all of them run: no prompt is computed then, which would count for one way and not for another. */
function msPerToken(seen: readonly Seen[]): number {
  const from = Math.max(...seen.map(({ wordsAt }) => wordsAt[0]!));
  const to = Math.min(...seen.map(({ wordsAt }) => wordsAt.at(-1)!));
  const each = seen.flatMap(({ wordsAt, tokens }) => {
    const inside = wordsAt.filter((at) => at >= from && at <= to);
    const words = inside.length - 1;
    // Some words need two tokens to be shown.
    return words > 0 ? [((inside.at(-1)! - inside[0]!) / words) * (wordsAt.length / tokens)] : [];
  });
  if (each.length === 0) throw new Error('The answers did not run side by side.');
  return median(each);
}

export function draw(figures: Record<string, Record<string, Figures>>): string {
  const perStreams = STREAMS.map((streams) => figures[`streams${streams}`]!);
  const series = Object.keys(WAYS)
    .filter((way) => perStreams[0]![way] !== undefined)
    .map((way) => ({ name: way, values: perStreams.map((ways) => ways[way]!.msPerToken) }));
  return plot('What sampling and a schema cost, one thread', [
    { title: 'From one token to the next', xLabel: 'answers at once', yLabel: 'ms', x: STREAMS, series },
  ]);
}
