// What may be used in a time, by a key, of a model, or by a key of a model: how a file says it, and what is made of it. Pure.
import { z } from 'zod';

const most = z.int().min(1).max(1_000_000_000_000);

/** The settings of one set of limits. */
export const limitSettings = {
  max_parallel: z.int().min(1).max(1_000_000).optional().describe('Calls that may run or wait at once.'),
  rpm: most.optional().describe('Requests a minute.'),
  rph: most.optional().describe('Requests an hour.'),
  rpd: most.optional().describe('Requests a day.'),
  tpm: most.optional().describe('Tokens a minute, of prompts and answers.'),
  tpd: most.optional().describe('Tokens a day, of prompts and answers.'),
  daily_budget: z
    .number()
    .positive()
    .max(1_000_000)
    .optional()
    .describe('What its requests may cost a day, by the prices of the back ends.'),
};

/** Absent, each: there is no such limit. */
export interface LimitsConfig {
  /** Calls that may run or wait at once. */
  readonly maxParallel?: number | undefined;
  /** Requests a minute, an hour, a day. */
  readonly rpm?: number | undefined;
  readonly rph?: number | undefined;
  readonly rpd?: number | undefined;
  /** Tokens a minute, a day. */
  readonly tpm?: number | undefined;
  readonly tpd?: number | undefined;
  /** In the currency of the back ends' prices. */
  readonly dailyBudget?: number | undefined;
}

export type RawLimits = z.output<z.ZodObject<typeof limitSettings>>;

export function resolveLimits(raw: RawLimits): LimitsConfig {
  const { max_parallel: maxParallel, rpm, rph, rpd, tpm, tpd, daily_budget: dailyBudget } = raw;
  return { maxParallel, rpm, rph, rpd, tpm, tpd, dailyBudget };
}
