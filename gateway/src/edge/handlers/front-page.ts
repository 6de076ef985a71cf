// `/`: one small page that says what runs here and how to call it. No scripts, nothing from elsewhere.
import type { Readiness, ServedModel, World } from '../../core/world.ts';
import { listModels } from '../asking/served-models.ts';
import type { Exchange } from '../http/exchange.ts';

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/** While the model loads the page follows it. */
const REFRESH_SECONDS = 2;

export function sendFrontPage(exchange: Exchange, world: World, readiness: Readiness): void {
  const host = exchange.header('host') ?? '127.0.0.1:8080';
  exchange.send(200, 'text/html; charset=utf-8', page(host, world, readiness), {
    'content-security-policy': POLICY,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
}

function page(host: string, world: World, readiness: Readiness): string {
  const models = listModels(world);
  const id = models[0]?.id ?? 'deepseek-r1';
  const base = `http://${host}`;
  const key = world.keys.length > 0 ? ` \\\n  -H "Authorization: Bearer $SLUICE_KEY"` : '';
  const apiKey = world.keys.length > 0 ? 'os.environ["SLUICE_KEY"]' : '"none"';
  const refresh =
    readiness.state === 'ready' ? '' : `<meta http-equiv="refresh" content="${REFRESH_SECONDS}">`;
  const curl = `curl -N ${base}/v1/chat/completions${key} \\
  -H 'Content-Type: application/json' -d '{
  "model": "${id}", "stream": true,
  "messages": [{"role": "user", "content": "Say hello in three languages."}]
}'`;
  const lines = `curl -N ${base}/v1/models/${id}/generate_stream${key} \\
  -H 'Content-Type: application/json' -d '{
  "prompt": "Say hello in three languages.", "max_tokens": 128
}'`;
  const openai = `from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key=${apiKey})
stream = client.chat.completions.create(
    model="${id}", stream=True,
    messages=[{"role": "user", "content": "Say hello in three languages."}],
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refresh}
<title>Sluice</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>Sluice</h1>
<p class="state ${readiness.state}"><span></span>${escapeHtml(readiness.reason)}</p>
${progressBar(readiness)}
</header>
<h2>Models <span lang="zh">模型</span></h2>
${models.length > 0 ? modelTable(models) : '<p>None yet. <span lang="zh">暂无。</span></p>'}
<h2>Chat, as a stream <span lang="zh">流式对话</span></h2>
<pre>${escapeHtml(curl)}</pre>
<h2>One JSON object a line <span lang="zh">逐行 JSON</span></h2>
<pre>${escapeHtml(lines)}</pre>
<h2>OpenAI’s client <span lang="zh">OpenAI 客户端</span></h2>
<pre>${escapeHtml(openai)}</pre>
<footer>
<a href="/v1/models">/v1/models</a> <a href="/healthz">/healthz</a> <a href="/readyz">/readyz</a> <a href="/metrics">/metrics</a>
</footer>
</main>
</body>
</html>
`;
}

function modelTable(models: readonly ServedModel[]): string {
  const rows = models.map(({ id, speaker, contextWindow, licence }) => {
    const cells = [
      `<code>${escapeHtml(id)}</code>`,
      escapeHtml(speaker),
      contextWindow?.toLocaleString('en') ?? '–',
    ];
    return `<tr>${[...cells, escapeHtml(licence ?? '–')].map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  const heads = ['id <span lang="zh">名称</span>', 'who speaks <span lang="zh">实际模型</span>'];
  const headRow = [...heads, 'context <span lang="zh">上下文</span>', 'licence <span lang="zh">许可</span>'];
  return `<div class="scroll"><table><tr>${headRow.map((head) => `<th>${head}</th>`).join('')}</tr>${rows.join('')}</table></div>`;
}

function progressBar({ progress }: Readiness): string {
  return progress === undefined ? '' : `<progress max="1" value="${progress.toFixed(3)}"></progress>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

const STYLE = `
:root { color-scheme: light dark; --ink: #16232b; --soft: #5b6b75; --line: #d8e0e4; --paper: #fbfcfc; --code: #eef3f5; --water: #0b7a94; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4ecef; --soft: #93a4ad; --line: #2b3940; --paper: #10181c; --code: #18242a; --water: #4cc2dc; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Noto Sans SC", "PingFang SC", sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem; }
h1 { margin: 0; font-size: 2rem; letter-spacing: -0.02em; color: var(--water); }
h2 { margin: 2.2rem 0 .6rem; font-size: 1rem; font-weight: 600; }
[lang=zh] { color: var(--soft); font-weight: 400; margin-left: .35em; }
.state { margin: .4rem 0 0; color: var(--soft); }
.state span { display: inline-block; width: .6em; height: .6em; margin-right: .5em; border-radius: 50%; background: #d28a1c; }
.state.ready span { background: #2f9e5b; } .state.failed span { background: #c8412f; }
progress { width: 100%; height: .5rem; margin-top: .8rem; accent-color: var(--water); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 500; color: var(--soft); }
pre { margin: 0; padding: .9rem 1rem; border-radius: .5rem; background: var(--code); overflow-x: auto; font-size: .84rem; line-height: 1.5; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { margin-top: 2.6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
footer a { color: var(--water); margin-right: 1rem; text-decoration: none; }
a:focus-visible { outline: 2px solid var(--water); outline-offset: 2px; }
`;
