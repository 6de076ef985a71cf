// How a command ends badly: one sentence, and an exit code that scripts can tell from a crash.

/** Wrong use or an impossible wish, as opposed to a bug of ours. */
const EXIT_USAGE = 2;

export function fail(sentence: string): never {
  process.stderr.write(`sluice: ${sentence}\n`);
  process.exit(EXIT_USAGE);
}
