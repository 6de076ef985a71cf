// curl, as a person uses it: what it prints is what is seen.
import { spawn, spawnSync } from 'node:child_process';
import { ALL, type Asked, CLIENT_LIMIT_MS, type Client, nothingSeen, type Seen, WEATHER } from './client.ts';

export const curl: Client = { name: 'curl', shows: ALL, missing: missing(), ask };

function missing(): string | undefined {
  return spawnSync('curl', ['--version']).status === 0 ? undefined : 'no curl on this machine';
}

function ask(asked: Asked): Promise<Seen> {
  const { url, model, prompt, stream, maxTokens, tools, leaveAfter } = asked;
  const body = {
    model,
    messages: [{ role: 'user', content: prompt }],
    max_tokens: maxTokens,
    ...(stream && { stream, stream_options: { include_usage: true } }),
    ...(tools && { tools: [{ type: 'function', function: WEATHER }] }),
  };
  // The status comes last, on the other output.
  const child = spawn('curl', [
    ...['--silent', '--show-error', '--no-buffer', '--write-out', '%{stderr}%{http_code}'],
    ...['--header', 'content-type: application/json', '--data-binary', '@-'],
    `${url}/v1/chat/completions`,
  ]);
  const limit = setTimeout(() => child.kill('SIGKILL'), CLIENT_LIMIT_MS);
  let output = '';
  let status = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    // Ctrl-C.
    if (leaveAfter !== undefined && textsIn(output).length >= leaveAfter) child.kill('SIGINT');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (status += text));
  child.stdin.end(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', async () => {
      clearTimeout(limit);
      try {
        if (leaveAfter !== undefined) await asked.afterLeaving?.();
        resolve(readOutput(output, Number(status)));
      } catch (thrown) {
        reject(thrown);
      }
    });
  });
}

interface Message {
  readonly content?: string | null;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly {
    readonly index?: number;
    readonly function: { readonly name?: string; readonly arguments?: string };
  }[];
}

interface Body {
  readonly choices?: readonly {
    readonly delta?: Message;
    readonly message?: Message;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly completion_tokens?: number } | null;
  readonly error?: { readonly message: string };
}

function readOutput(output: string, status: number): Seen {
  const seen = nothingSeen();
  const bodies = /^\s*data: /.test(output) ? eventsIn(output) : [JSON.parse(output) as Body];
  const calls: { name: string; arguments: string }[] = [];
  for (const { choices, usage, error } of bodies) {
    // Within a stream the status was told before, and was a good one.
    if (error) seen.error = { status: status === 200 ? undefined : status, message: error.message };
    seen.completionTokens = usage?.completion_tokens ?? seen.completionTokens;
    const [choice] = choices ?? [];
    const message = choice?.delta ?? choice?.message ?? {};
    if (message.content) seen.pieces.push(message.content);
    seen.reasoning += message.reasoning_content ?? '';
    seen.finish = choice?.finish_reason ?? seen.finish;
    // Only pieces are numbered.
    for (const [at, { index = at, function: part }] of (message.tool_calls ?? []).entries()) {
      calls[index] ??= { name: '', arguments: '' };
      calls[index].name += part.name ?? '';
      calls[index].arguments += part.arguments ?? '';
    }
  }
  seen.toolCalls = calls.map((call) => ({ name: call.name, arguments: JSON.parse(call.arguments) }));
  return seen;
}

/** The events that have come whole. */
function eventsIn(output: string): Body[] {
  return output
    .split('\n\n')
    .slice(0, -1)
    .map((block) => block.trim())
    .filter((block) => block !== '' && block !== 'data: [DONE]')
    .map((block) => JSON.parse(block.slice('data: '.length)) as Body);
}

function textsIn(output: string): string[] {
  return eventsIn(output).flatMap(({ choices }) => choices?.[0]?.delta?.content || []);
}
