// A back end's limit of calls at once, by what the back end says of itself.
import type { AdaptiveLimit } from '../../core/backend.ts';
import { AimdLimit } from './aimd-limit.ts';
import type { ConcurrencyLimit } from './concurrency-limit.ts';
import { fixedLimit } from './fixed-limit.ts';
import { GradientLimit } from './gradient-limit.ts';

/** Absent: its slots are all that bounds it. */
export function makeLimit(adaptive: AdaptiveLimit | undefined): ConcurrencyLimit {
  if (!adaptive) return fixedLimit();
  const { kind, most } = adaptive;
  return kind === 'aimd' ? new AimdLimit({ most }) : new GradientLimit({ most });
}
