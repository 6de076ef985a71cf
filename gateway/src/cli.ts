// The command line: names, flags and help. What a command does is in commands/, loaded only when it runs.
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

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
  .argument('<file>')
  .action(async (file) => (await import('./commands/check-config.ts')).checkConfig(file));

program
  .command('doctor')
  .description('say what this machine has of what serving needs, and what to do about the rest')
  .option('-c, --config <file>', 'configuration, as for serve')
  .option('-m, --model <file|name>', 'model, as for serve')
  .option('--host <address>', 'address, as for serve')
  .option('-p, --port <number>', 'port, as for serve')
  .option('--json', 'as JSON')
  .action(async (flags) => (await import('./commands/doctor.ts')).doctor(flags, version));

await program.parseAsync();

function positive(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('A whole number above 0 is needed.');
}

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 2) return value;
  throw new InvalidArgumentError('A number from 0 to 2 is needed.');
}
