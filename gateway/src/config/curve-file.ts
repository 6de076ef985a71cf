// Measured curves of engines: files that come with Sluice, by their names, or the user's own. Checked like a configuration:
// what is wrong is told by its name. What the figures mean is in core/step-curve.ts.
import { globSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError, pathText } from './config-error.ts';

const OWN_CURVES = new URL('../../data/curves/', import.meta.url).pathname;

const count = z.int().min(1).max(1_000_000_000);
const points = z
  .array(z.tuple([z.number().min(1), z.number().positive()]))
  .min(1)
  .refine((all) => all.every(([x], index) => index === 0 || x > all[index - 1]![0]), {
    error: 'expected points [number, ms] whose first numbers rise',
  })
  .refine(endsRising, { error: 'expected a curve whose last point is not below the one before' });

const curveFile = z
  .strictObject({
    name: z.string().min(1).max(64),
    origin: z.string().min(1),
    slots: count.max(100_000),
    decode_ms: points,
    prefill_ms: points,
    prompts: z.enum(['one', 'together']),
    slice_tokens: count,
    cache_tokens: count,
    continues: z.enum(['text', 'ids']).optional(),
  })
  .transform((file) => ({
    name: file.name,
    origin: file.origin,
    slots: file.slots,
    decodeMs: file.decode_ms,
    prefillMs: file.prefill_ms,
    prompts: file.prompts,
    sliceTokens: file.slice_tokens,
    cacheTokens: file.cache_tokens,
    continues: file.continues,
  }));

/** A curve as the rest of the program takes it. */
export type CurveConfig = Readonly<z.output<typeof curveFile>>;

/** The names of those that come with Sluice. */
export function ownCurves(): string[] {
  return globSync('*.json', { cwd: OWN_CURVES })
    .map((file) => basename(file, '.json'))
    .sort();
}

/** `name`: one of `ownCurves`, or a file, relative to `folder`. Throws ConfigError. */
export function readCurve(name: string, folder: string): CurveConfig {
  const isName = /^[\w-]+$/.test(name);
  const path = isName ? `${OWN_CURVES}${name}.json` : resolve(folder, name);
  let values: unknown;
  try {
    values = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (isName && code === 'ENOENT') {
      throw new ConfigError(
        `There is no curve "${name}": it is one of ${ownCurves().join(', ')}, or a file (./${name}).`,
      );
    }
    throw new ConfigError(`The curve ${path} cannot be read: ${code ?? message}.`);
  }
  const parsed = curveFile.safeParse(values);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ConfigError(`The curve ${path} is wrong: "${pathText(issue!.path)}" ${issue!.message}.`);
}

/** Beyond its last point a curve goes on as steep as before: it must not fall there. */
function endsRising(all: readonly (readonly [number, number])[]): boolean {
  const [before, last] = all.slice(-2);
  return before === undefined || last === undefined || last[1] >= before[1];
}
