// Chance that comes out alike for the same seed, so that a load can be sent once more.
// Pure.

/** A number from 0 up to, not including, 1. */
export type Random = () => number;

/** Uniform (mulberry32, Tommy Ettinger). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One value of the gamma distribution with this shape and a mean of 1: an exponential one where the shape is 1. */
export function gammaWithMeanOne(random: Random, shape: number): number {
  return shape === 1 ? -Math.log(1 - random()) : gamma(random, shape) / shape;
}

/** Scale 1. Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with their boost below 1. */
function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = standardNormal(random);
    const cubed = (1 + c * normal) ** 3;
    if (cubed <= 0) continue;
    if (Math.log(1 - random()) < normal ** 2 / 2 + d * (1 - cubed + Math.log(cubed))) return d * cubed;
  }
}

/** Box and Muller. */
function standardNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
