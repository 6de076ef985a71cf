// The floor for a gateway on Node: a request is read and its JSON parsed, and bytes are passed on as they come, with
// back-pressure and with an end to the call when its client leaves. No keys, no ids, no metrics, no queue.
//   node bench/bare-proxy.ts PORT UPSTREAM_PORT
import { createServer, type ServerResponse } from 'node:http';
import { type Dispatcher, Pool } from 'undici';

const [port, upstreamPort] = process.argv.slice(2);
const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { headersTimeout: 0, bodyTimeout: 0 });

createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    if (body.length > 0) JSON.parse(body.toString());
    pool.dispatch(
      {
        method: request.method!,
        path: request.url!,
        headers: { 'content-type': 'application/json' },
        body: body.length > 0 ? body : null,
      },
      passOn(response),
    );
  });
}).listen(Number(port), '127.0.0.1');

function passOn(response: ServerResponse): Dispatcher.DispatchHandler {
  let call: Dispatcher.DispatchController | undefined;
  response.on('close', () => {
    if (!response.writableFinished) call?.abort(new Error('The client has left.'));
  });
  response.on('drain', () => call?.resume());
  return {
    onRequestStart: (controller) => {
      call = controller;
    },
    onResponseStart: (_controller, status, { 'content-type': type, 'content-length': length }) => {
      response.writeHead(status, {
        ...(type && { 'content-type': String(type) }),
        ...(length && { 'content-length': String(length) }),
      });
    },
    onResponseData: (controller, part) => {
      if (!response.write(part)) controller.pause();
    },
    onResponseEnd: () => {
      response.end();
    },
    onResponseError: () => {
      response.destroy();
    },
  };
}
