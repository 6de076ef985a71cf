// What of the hard cases is not played yet, and which steps were changed in playing them: nothing is left out in silence.

/** By the case's id: what it waits for. */
export const WAITING: Readonly<Record<string, string>> = {
  'chunk-cuts-emoji': 'documents',
  'cancel-when-idle': 'voice',
  'pcm-odd-bytes': 'voice',
};

/** Played on the embedded engine, with a real model. */
export const ON_THE_ENGINE: readonly string[] = [
  'schema-unusable',
  'max-tokens-extremes',
  'slots-after-aborts',
  'emoji-tokens',
];

/** Played in a file of its own. */
export const ELSEWHERE: Readonly<Record<string, string>> = { 'dns-moves': 'dns-moves.test.ts' };

/** By the case's id: how its steps differ from the file's. */
export const REDUCED: Readonly<Record<string, string>> = {
  'sse-glued-frame': 'no count of malformed events is looked for',
  'image-url-inside': 'the loopback port is one that listens, not 9',
  'dns-moves': 'asked again until it is served, at most 35 s, instead of once after 30 s',
  'sigterm-drains': 'readiness is waited for, as 100 ms on a loaded machine say nothing',
  'reload-under-stream': 'a token every 200 ms instead of every second',
  'ttft-clock': 'not later than the next event that must not stop the clock, instead of a fixed time',
  'hedge-loser-stops':
    'the loser is ended within a second of the first token of the winner, as the machine does other things',
  'silent-prefill': 'the longest silence has a second of grace',
  'no-late-burst': 'each event is there before the next is written, instead of within 50 ms',
  'labels-bounded': 'the thousand requests come on twenty connections',
};
