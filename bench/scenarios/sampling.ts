// What a token costs more when it is sampled, or held to a JSON schema, than when it is the likeliest: one answer alone
// and eight at once, in turns.
import { closedLoop } from '../chat-load.ts';
import { modelFile, startSluice } from '../servers.ts';
import { median, rounded } from '../statistics.ts';
import { question, systemMessage } from '../workload.ts';

const ROUNDS = 5;
const STREAMS = [1, 8];
const MAX_TOKENS = 64;

const SCHEMA = {
  type: 'object',
  properties: { story: { type: 'string', minLength: 200 } },
  required: ['story'],
  additionalProperties: false,
};
const WAYS: Readonly<Record<string, object>> = {
  greedy: {},
  sampled: { temperature: 0.6, top_p: 0.95, seed: 7 },
  schema: { response_format: { type: 'json_schema', json_schema: { name: 'story', schema: SCHEMA } } },
};

export async function run(): Promise<object> {
  const sluice = await startSluice({ model: await modelFile(), log_level: 'silent', engine: { threads: 1 } });
  const figures: Record<string, object> = {};
  try {
    const msPerToken = async (streams: number, extra: object, round: number) => {
      const chats = Array.from({ length: streams }, (_, index) => [
        { system: systemMessage(14, 1), user: question(round * 100 + index), maxTokens: MAX_TOKENS, extra },
      ]);
      const { seen } = await closedLoop(sluice.port, chats);
      return median(
        seen.map(({ totalMs, firstMs, tokens }) => (totalMs - firstMs) / Math.max(1, tokens - 1)),
      );
    };
    await msPerToken(8, {}, 0);
    for (const streams of STREAMS) {
      const taken: Record<string, number[]> = Object.fromEntries(Object.keys(WAYS).map((way) => [way, []]));
      for (let round = 1; round <= ROUNDS; round += 1) {
        for (const [way, extra] of Object.entries(WAYS)) {
          taken[way]!.push(await msPerToken(streams, extra, round));
        }
      }
      figures[`streams${streams}`] = Object.fromEntries(
        Object.entries(taken).map(([way, values]) => [
          way,
          {
            msPerToken: rounded(median(values)),
            overGreedyMs: rounded(median(values.map((value, round) => value - taken.greedy![round]!))),
          },
        ]),
      );
    }
  } finally {
    await sluice.stop();
  }
  return {
    unit: `ms between two tokens of an answer, ${MAX_TOKENS} tokens, medians of ${ROUNDS}`,
    ...figures,
  };
}
