// What computing costs, in whatever currency the operator counts in. Pure.
import type { Usage } from './chat.ts';

/** Of a million tokens each, 0 or more. */
export interface Price {
  /** Of a prompt. */
  readonly input: number;
  /** Of an answer, thinking included. */
  readonly output: number;
  /** Of a prompt, where they need not be computed; absent: as `input`. */
  readonly cached?: number | undefined;
}

const MILLION = 1_000_000;

/** What a call cost. What is unknown of its usage counts as nothing. */
export function costOf({ input, output, cached = input }: Price, usage: Usage): number {
  const { promptTokens = 0, cachedTokens = 0, completionTokens = 0 } = usage;
  return (
    ((promptTokens - cachedTokens) * input + cachedTokens * cached + completionTokens * output) / MILLION
  );
}

/** Money is added up in whole billionths of the currency, so that sums of small prices stay exact. */
export const BILLIONTHS = 1e9;

/** As `costOf`, in billionths. */
export function billionthsOf(price: Price, usage: Usage): number {
  return Math.round(costOf(price, usage) * BILLIONTHS);
}

/** A price that none of these is above: for whom it is not known yet which it will be. `prices` is not empty. */
export function dearest(prices: readonly Price[]): Price {
  const highest = (of: (price: Price) => number) => Math.max(...prices.map(of));
  return {
    input: highest(({ input }) => input),
    output: highest(({ output }) => output),
    cached: highest(({ input, cached = input }) => cached),
  };
}
