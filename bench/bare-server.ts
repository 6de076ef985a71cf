// The floor that Sluice is measured against: node:http and nothing else, writing the bytes that Sluice wrote, at the
// pace at which it wrote them. It reads each request's body, because it must, and looks at none of it.
//   node bench/bare-server.ts PORT RECORDING
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { Recording } from './recording.ts';

const [port, file = ''] = process.argv.slice(2);
const recording: Recording = JSON.parse(readFileSync(file, 'utf8'));
const streams = new Map<ServerResponse, number>();
let timer: NodeJS.Timeout | undefined;

createServer((request, response) => {
  if (request.method === 'GET') {
    response.end('ok');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.url?.endsWith('/generate')) {
      response.writeHead(200, recording.json.headers);
      response.end(recording.json.body);
      return;
    }
    streams.set(response, 0);
    response.on('close', () => forget(response));
    timer ??= setInterval(step, recording.stepMs);
  });
}).listen(Number(port), '127.0.0.1');

function step(): void {
  for (const [response, position] of streams) {
    if (position === 0) response.writeHead(200, recording.stream.headers);
    const chunk = recording.stream.chunks[position];
    if (chunk === undefined) {
      response.end();
      forget(response);
      continue;
    }
    if (recording.stallAfter !== undefined && position >= recording.stallAfter) continue;
    response.write(chunk);
    streams.set(response, position + 1);
  }
}

function forget(response: ServerResponse): void {
  streams.delete(response);
  if (streams.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
