// What scripted back ends say in the conformance suite: characters of one byte to four, joined ones, and one that some
// readers take for the end of a line.

export const PIECES = [
  'The river ',
  'is ',
  '量子',
  '计算',
  ' — ',
  'naïve ',
  '😀',
  ' 👩\u200d👩\u200d👧\u200d👦 ',
  'flows\n',
  '\tinto ',
  'Привет ',
  'the ',
  'sea',
  ' \u0085 ',
  'of ',
  'words',
  '.',
] as const;
