// `sluice config-schema`: the configuration's names and bounds as JSON Schema, for editors that complete and check as one types.
import { configJsonSchema } from '../config/schema.ts';

export function printConfigSchema(): void {
  process.stdout.write(`${JSON.stringify(configJsonSchema(), undefined, 2)}\n`);
}
