// What the steps of an engine with continuous batching take, as it was measured: the scripted back end keeps to it in
// real time and the simulator in its own, so that one can be held against the other. It is here because the two rooms
// have no other in common.
// Pure.

/** Points of a measured curve, x rising: between them it is straight, beyond the last one as steep as before it. */
export type Curve = readonly (readonly [x: number, ms: number])[];

/**
 * An engine in which every step gives each running answer one token, and computes a slice of the prompts that wait
 * (iteration-level batching: Orca, OSDI 2022; slices: Sarathi-Serve, OSDI 2024).
 */
export interface StepCurve {
  readonly name: string;
  /** Where the figures are from: what was measured on what, or that they were assumed. */
  readonly origin: string;
  /** Calls at once. */
  readonly slots: number;
  /** A step that gives so many answers a token each, in ms; from 1 on. */
  readonly decodeMs: Curve;
  /** A step that computes so many tokens of prompts and nothing else, in ms; from 1 on. */
  readonly prefillMs: Curve;
  /**
   * `one`: a step computes a slice of one prompt, in a pass of its own before the answers' tokens. `together`: slices of
   * several prompts, in the same pass as those.
   */
  readonly prompts: 'one' | 'together';
  /** Tokens of prompts that a step computes at the most. */
  readonly sliceTokens: number;
  /** Tokens that it can hold, of running calls and of what it remembers. */
  readonly cacheTokens: number;
  /** How it goes on with an answer that was begun. */
  readonly continues?: 'text' | 'ids' | undefined;
}

/** How long a step takes, in ms, that gives `answers` a token each and computes `promptTokens` of prompts. */
export function stepMs(curve: StepCurve, answers: number, promptTokens: number): number {
  const { decodeMs, prefillMs, prompts } = curve;
  const decode = answers > 0 ? valueAt(decodeMs, answers) : 0;
  if (promptTokens === 0) return decode;
  const prefill = valueAt(prefillMs, promptTokens);
  if (prompts === 'one' || answers === 0) return decode + prefill;
  // One pass over the weights serves both: what it costs with hardly any work in it is in either figure.
  return prefill + Math.max(0, decode - valueAt(decodeMs, 1));
}

function valueAt(curve: Curve, x: number): number {
  const [first] = curve;
  if (first === undefined) return 0;
  if (x <= first[0]) return first[1];
  let low = first;
  let high = first;
  for (const point of curve) {
    low = high;
    high = point;
    if (point[0] >= x) break;
  }
  if (low === high) return high[1];
  return low[1] + ((high[1] - low[1]) * (x - low[0])) / (high[0] - low[0]);
}
