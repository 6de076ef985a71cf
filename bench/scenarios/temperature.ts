// What the temperature does to the embedded model's answers, 0.1 to 1.2: how varied they are, how often they say a thing
// again, how long they are, and how often JSON that was only asked for (no grammar) is JSON.
import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { KEY, modelFile, modelIn, startSluice } from '../servers.ts';
import { distinctShare, isJsonObject, repeatedShare } from '../text-variety.ts';

const ROUNDS = 2;
const TEMPERATURES = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.2];
/** Nothing else is cut off, so that the temperature alone decides. */
const SAMPLING = { top_p: 1 };
const AT_ONCE = 8;
const MAX_TOKENS = 256;
const JSON_TOKENS = 64;

const STORIES = [
  'Tell me a short story about a harbour in winter.',
  'Describe a market in the morning to somebody who has never seen one.',
  'Write a letter to a friend about a journey by train.',
  'Explain to a child why the sea is salty.',
  'Give me three ideas for a rainy Sunday.',
  'Write a short talk for the opening of a library.',
  'Describe the taste of bread.',
  'Tell me about a clock maker and his strangest clock.',
];
const FORMS = [
  'the name, the price and the colour of a lamp',
  'the name, the age and the town of a sailor',
  'the title, the author and the year of a book',
  'the name, the weight and the food of an animal',
  'the street, the number and the city of an address',
  'the name, the length and the country of a river',
  'the day, the hour and the place of a meeting',
  'the name, the colour and the taste of a fruit',
];
/** With two that were answered well before: a small model goes by examples. */
const EXAMPLES = [
  [
    'the name, the height and the place of a tower',
    '{"name": "Old Light", "height": 48, "place": "Northport"}',
  ],
  [
    'the title, the length and the singer of a song',
    '{"title": "Green Hills", "length": 215, "singer": "Mara Lind"}',
  ],
] as const;
const asked = (what: string) => `Give me ${what} as one JSON object. No other word.`;
const forForm = (what: string): Message[] => [
  ...EXAMPLES.flatMap(([example, answer]): Message[] => [
    { role: 'user', content: asked(example) },
    { role: 'assistant', content: answer },
  ]),
  { role: 'user', content: asked(what) },
];
const forProse = (prompt: string): Message[] => [{ role: 'user', content: prompt }];

interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

interface Answer {
  readonly text: string;
  readonly tokens: number;
  readonly endedItself: boolean;
}

/** Of one round; shares are parts of 1. */
interface Figures {
  readonly distinct1: number;
  readonly distinct2: number;
  readonly distinct3: number;
  /** Of an answer's runs of four words, those that it had before; the mean. */
  readonly repeated: number;
  readonly validJson: number;
  readonly tokens: number;
  readonly endedItself: number;
}

const MEASURES = [
  'distinct1',
  'distinct2',
  'distinct3',
  'repeated',
  'validJson',
  'tokens',
  'endedItself',
] as const;
/** One answer to each prompt would say little of how sure a form is; with two the parts of two rounds were 0.25 and 0.94. */
const FORMS_EACH = 6;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const sluice = await startSluice({
    model: file,
    log_level: 'silent',
    engine: { batch_size: AT_ONCE, context: 1024 },
  });
  const samples = TEMPERATURES.map(() => [] as Figures[]);
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const [index, temperature] of TEMPERATURES.entries()) {
        const taken = await measure(sluice.port, temperature, round);
        console.error(round, temperature, JSON.stringify(taken));
        samples[index]!.push(taken);
      }
    }
  } finally {
    await sluice.stop();
  }
  return {
    unit: `${STORIES.length} prompts for prose, ${FORMS.length * FORMS_EACH} for JSON a round, up to ${MAX_TOKENS} and ${JSON_TOKENS} tokens, top_p 1, ${rounds} rounds with seeds of their own; parts of 1, and tokens`,
    model: modelIn(file),
    points: samples.map((taken, index) => ({
      temperature: TEMPERATURES[index],
      ...Object.fromEntries(
        MEASURES.map((name) => [
          name,
          spreadOf(
            taken.map((one) => one[name]),
            3,
          ),
        ]),
      ),
    })),
  };
}

async function measure(port: number, temperature: number, round: number): Promise<Figures> {
  const answers = (conversations: readonly Message[][], maxTokens: number) =>
    inTurn(conversations, (messages, index) =>
      ask(port, { messages, max_tokens: maxTokens, temperature, seed: round * 1_000 + index }),
    );
  const prose = await answers(STORIES.map(forProse), MAX_TOKENS);
  const forms = await answers(
    Array.from({ length: FORMS_EACH }, () => FORMS.map(forForm)).flat(),
    JSON_TOKENS,
  );
  const texts = prose.map(({ text }) => text);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    distinct1: distinctShare(texts, 1),
    distinct2: distinctShare(texts, 2),
    distinct3: distinctShare(texts, 3),
    repeated: mean(texts.map((text) => repeatedShare(text, 4))),
    validJson: mean(forms.map(({ text }) => (isJsonObject(text) ? 1 : 0))),
    tokens: mean(prose.map(({ tokens }) => tokens)),
    endedItself: mean(prose.map(({ endedItself }) => (endedItself ? 1 : 0))),
  };
}

/** `AT_ONCE` of them at a time. */
async function inTurn<T, R>(all: readonly T[], work: (one: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    while (next < all.length) {
      const index = next;
      next += 1;
      results[index] = await work(all[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

async function ask(port: number, fields: object): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ model: 'deepseek-r1', ...fields, ...SAMPLING }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(`The server refused: ${JSON.stringify(body)}`);
  const { choices, usage } = body as {
    choices: readonly { message: { content: string }; finish_reason: string }[];
    usage: { completion_tokens: number };
  };
  const [choice] = choices;
  return {
    text: choice!.message.content,
    tokens: usage.completion_tokens,
    endedItself: choice!.finish_reason === 'stop',
  };
}

interface Point extends Readonly<Record<(typeof MEASURES)[number], Spread>> {
  readonly temperature: number;
}

export function draw({ points }: { readonly points: readonly Point[] }): string {
  const panel = (title: string, names: readonly (readonly [string, (typeof MEASURES)[number]])[]): Panel => ({
    title,
    yLabel: 'part of 1',
    xLabel: 'temperature',
    x: points.map(({ temperature }) => temperature),
    series: names.map(([name, measure]) => ({ name, values: points.map((point) => point[measure]) })),
  });
  return plot('What the temperature does to the embedded model', [
    panel('Distinct runs of words', [
      ['1 word', 'distinct1'],
      ['2 words', 'distinct2'],
      ['3 words', 'distinct3'],
    ]),
    panel('Said before in the same answer', [['runs of 4 words', 'repeated']]),
    panel('JSON that is JSON, without a grammar', [['answers', 'validJson']]),
  ]);
}
