// What customers of a shop ask on the day of a promotion: one system message for all, of about 300 tokens, and questions
// of 20 to 80, each with a number or a name of its own; every fifth customer asks one of a few that everybody asks.
// Lengths are in tokens of the small model's vocabulary, near enough; the figures state what was really counted.
// Pure.
import type { ChatMessage } from '../gateway/src/load/prompts.ts';
import { seededRandom } from '../gateway/src/load/seeded-random.ts';

const SYSTEM = `You are the assistant of the customer service of Lotus Market, a shop on the web that sells clothes, shoes, \
books, kitchen goods and small electronics in twelve countries. Today is the first day of the autumn sale, and many people \
write at the same time. Answer in the language of the customer, in full sentences, in a warm and patient tone, and never \
blame the customer for anything. Begin with the answer itself and give the reasons after it. Explain every step that the \
customer has to take, one after the other, and say what happens next. Orders leave the store within two working days, and \
within four during the sale. Parcels can be followed with the number in the mail that says they have left. Goods can be \
sent back within thirty days, unworn and in their box, and the money comes back within ten days to the account that it came \
from. Shoes and clothes can be changed for another size at no cost. Vouchers hold for one year and cannot be paid out; only \
one of them can be used for an order, and none together with the prices of the sale. Repairs of electronics take two to three \
weeks, and a device on loan can be had for that time. Never promise a day of delivery, never ask for a password or for the \
whole number of a card, and never speak about other customers. If you do not know something, say so and name the telephone \
line, which is open from eight in the morning to ten in the evening.`;

/** What many ask, word for word: a shop shows such questions as buttons. */
const COMMON = [
  'How long does the autumn sale go on, and do the prices of the sale hold in the shops of the town too? Please explain.',
  'Can I use my voucher together with the prices of the sale? Please tell me exactly how it works, step by step.',
  'How do I send something back that I have bought in the sale, and when do I get my money? Please explain every step.',
  'My parcel is late. What can I do, and how can I find out where it is now? Please explain every step to me.',
];
/** Of all questions. */
const COMMON_SHARE = 0.2;

const GOODS = [
  'running shoes',
  'a rain coat',
  'a coffee mill',
  'a pair of headphones',
  'a cook book',
  'a lamp',
];
const TROUBLES = [
  'has not come yet, although it should have been here last week',
  'came in the wrong size, and I need it for a journey',
  'was broken when I opened the box this morning',
  'is not the colour that I had chosen on your page',
];
const MORE = [
  'I have already looked at the page with the answers, but I did not find my case there.',
  'I am writing to you because nobody answers the telephone today, and I am getting a little worried about it.',
  'It is a present for my sister, who has her birthday at the end of next week, so it really must not take too long.',
];
const ASK = 'Please explain in detail what I have to do now, and what you will do.';

/** The conversation of the customer with this number, from 0 on: the same whenever it is asked for. */
export function customersMessages(seed: number, customer: number): readonly ChatMessage[] {
  const random = seededRandom(seed * 1_000_003 + customer);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const question =
    random() < COMMON_SHARE
      ? pick(COMMON)
      : [
          `My order ${Math.floor(100_000 + random() * 900_000)} of ${pick(GOODS)} ${pick(TROUBLES)}.`,
          ...(random() < 0.5 ? [pick(MORE)] : []),
          ASK,
        ].join(' ');
  return [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: question },
  ];
}
