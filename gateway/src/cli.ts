// The command line: names, flags and help. What a command does is in commands/, loaded only when it runs.
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { declareBench } from './commands/bench-flags.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

const BACKEND_HELP =
  'serve by this server instead, as one gives it to OpenAI’s client; repeatable, first is preferred; its key is SLUICE_BACKEND_API_KEY';

const program = new Command('sluice')
  .description('A low-latency LLM serving gateway that keeps every stream smooth while load surges.')
  .version(version, '-v, --version')
  .showHelpAfterError('(sluice --help tells what there is)')
  .showSuggestionAfterError();

program
  .command('serve', { isDefault: true })
  .description('serve a model on an HTTP port; without flags: a real one, fetched at the first start')
  .option('-c, --config <file>', 'configuration, YAML or JSON')
  .option('-m, --model <file|name>', 'a GGUF file, or a name of "sluice models list" (SLUICE_MODEL)')
  .option('--host <address>', 'address to listen on; default 127.0.0.1 (SLUICE_HOST)')
  .option('-p, --port <number>', 'port to listen on; default 8080 (SLUICE_PORT)')
  .option('-b, --backend <url>', BACKEND_HELP, repeated)
  .action(async (flags) => (await import('./commands/serve.ts')).serve(flags, version));

program
  .command('chat')
  .description('talk to a model in the terminal; Ctrl-C stops an answer')
  .argument('[prompt...]', 'one question; without it: a conversation')
  .option('-u, --url <base>', 'the server, or any that speaks OpenAI’s protocol', 'http://127.0.0.1:8080')
  .option('-m, --model <id>', 'the model; default: the first that the server lists')
  .option('-s, --system <text>', 'what the model is told before the conversation')
  .option('-n, --max-tokens <number>', 'longest answer', positive)
  .option('-t, --temperature <number>', '0 to 2', temperature)
  .option('-k, --key <key>', 'API key; default: the first of SLUICE_API_KEYS')
  .action(async (words, flags) => (await import('./commands/chat.ts')).chat(words.join(' '), flags));

declareBench(program, async (flags) => (await import('./commands/bench.ts')).bench(flags, version));

const models = program.command('models').description('what is in the model store, and what can be fetched');
models
  .command('list', { isDefault: true })
  .description('the models of the store and of the catalogue')
  .option('--json', 'as JSON')
  .action(async (flags) => (await import('./commands/models.ts')).listModels(flags));
models
  .command('pull')
  .description('fetch a model into the store')
  .argument('<name>')
  .action(async (name) => (await import('./commands/models.ts')).pullModel(name));
models
  .command('remove')
  .description('delete a model from the store')
  .argument('<name>')
  .action(async (name) => (await import('./commands/models.ts')).removeModel(name));
models
  .command('verify')
  .description('compare the stored files with their checksums')
  .argument('[name]')
  .action(async (name) => (await import('./commands/models.ts')).verifyModels(name));

program
  .command('check-config')
  .description('read a configuration and say what is wrong with it')
  .argument('[file]')
  .option('-c, --config <file>', 'the same, as serve has it')
  .option('-b, --backend <url>', 'a back end to look at instead of those of the file; repeatable', repeated)
  .option('--probe', 'also ask each of its back ends what it serves')
  .action(async (file, flags) => (await import('./commands/check-config.ts')).checkConfig(file, flags));

program
  .command('config-schema')
  .description('print the JSON Schema of the configuration, for editors')
  .action(async () => (await import('./commands/config-schema.ts')).printConfigSchema());

const keys = program.command('keys').description('access keys: make, hash and revoke them');
keys
  .command('create')
  .description('make a secret, show it once, and give the entry that lets it in')
  .option('-n, --name <name>', 'whose it is; default: made from its hash')
  .option('-m, --model <id>', 'a model that it may use; repeatable; default: all', repeated)
  .option('-c, --config <file>', 'add the entry to this configuration')
  .action(async (flags) => (await import('./commands/keys.ts')).createKey(flags));
keys
  .command('hash')
  .description('the sha256:… of a secret that is typed or piped in')
  .action(async () => (await import('./commands/keys.ts')).hashSecret());
keys
  .command('revoke')
  .description('take a key out of a configuration')
  .argument('<name>')
  .requiredOption('-c, --config <file>', 'the configuration')
  .action(async (name, flags) => (await import('./commands/keys.ts')).revokeKey(name, flags));

program
  .command('doctor')
  .description('say what this machine has of what serving needs, and what to do about the rest')
  .option('-c, --config <file>', 'configuration, as for serve')
  .option('-m, --model <file|name>', 'model, as for serve')
  .option('--host <address>', 'address, as for serve')
  .option('-p, --port <number>', 'port, as for serve')
  .option('-b, --backend <url>', 'back end, as for serve', repeated)
  .option('--json', 'as JSON')
  .action(async (flags) => (await import('./commands/doctor.ts')).doctor(flags, version));

program
  .command('simulate')
  .description('say what a load would come to, by the scheduler that serves and measured curves of engines')
  .option(
    '-t, --trace <file>',
    '"azure" (an hour of real requests), a CSV like it, or a log of Sluice',
    'azure',
  )
  .option(
    '--surge',
    'instead of a trace: --rate requests a second, ten times that for a minute, --rate again',
  )
  .option('-x, --rate <factor>', 'how many times as fast as in the trace', above0, 1)
  .option('--duration <seconds>', 'only the first so many seconds', above0)
  .option('-r, --replicas <number>', 'back ends, all alike', positive, 2)
  .option('--find-replicas', 'how many replicas hold the objective, and what bounds it')
  .option('--curve <name|file>', 'what the engine takes: gpu-8b, vllm-cpu, embedded-q8, or a file', 'gpu-8b')
  .option('--tenants <number>', 'who asks, where the trace does not say', positive, 8)
  .option('--mix <parts>', 'the part of each class', 'interactive=0.7,standard=0.2,batch=0.1')
  .option('--turns <part>', 'of the requests, 0 to 1: go on with an earlier conversation', part, 0.5)
  .option('--objective-ms <ms>', 'when a first token is due', positive, 500)
  .option('--patience <seconds>', 'after so long without a first token clients leave', above0, 30)
  .option('--return', 'clients that were refused come back when they were told to')
  .option('--price <number>', 'of a replica for an hour', above0, 1)
  .option('--seed <number>', 'of all that is left to chance', positive, 1)
  .option('--json', 'as JSON')
  .option('--plot <file>', 'also as a picture (SVG)')
  .action(async (flags) => (await import('./commands/simulate.ts')).simulateLoad(flags));

await program.parseAsync();

/** Of an option that may be given more than once. */
function repeated(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function positive(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('A whole number above 0 is needed.');
}

function above0(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value <= 1e9) return value;
  throw new InvalidArgumentError('A number above 0 is needed.');
}

function part(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('A number from 0 to 1 is needed.');
}

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 2) return value;
  throw new InvalidArgumentError('A number from 0 to 2 is needed.');
}
