// The faults that servers are known for, by name: for tests, and for a person who wants to see what a client makes of
// them. Each is made when it is asked for; none is in memory before.
import { gzipSync } from 'node:zlib';
import { chunkOf, DONE, EVENT_STREAM, endChunk, jsonOf, refusalOf, streamOf, textChunk } from './answers.ts';
import { oneByteAWrite, type Script } from './script.ts';

export interface BuiltInScript {
  /** A line for people. */
  readonly about: string;
  readonly make: () => Script;
}

const MEBIBYTE = 1024 * 1024;
const OPENING = chunkOf({ delta: { role: 'assistant', content: '' } });
const BEGUN = [OPENING, textChunk('The answer'), textChunk(' is')];

export const BUILT_IN_SCRIPTS: Readonly<Record<string, BuiltInScript>> = {
  good: { about: 'a good answer, streamed', make: () => streamOf('The ', 'answer ', 'is ', '42.') },
  json: { about: 'a good answer, as one JSON object', make: () => jsonOf('The answer is 42.') },
  'reset-midway': {
    about: 'the connection is reset in mid-answer',
    make: () => ({ headers: EVENT_STREAM, chunks: BEGUN, end: 'reset' }),
  },
  'half-event': {
    about: 'the body ends in the middle of an event',
    make: () => ({ headers: EVENT_STREAM, chunks: [...BEGUN, textChunk(' 42.').slice(0, 60)] }),
  },
  'silent-head': {
    about: 'not even a status comes',
    make: () => ({ headers: EVENT_STREAM, chunks: [], headDelayMs: 3_600_000 }),
  },
  silent: {
    about: 'headers, then silence before the first token',
    make: () => ({ headers: EVENT_STREAM, chunks: [OPENING], end: 'hold' }),
  },
  'silent-midway': {
    about: 'silence in the middle of the answer',
    make: () => ({ headers: EVENT_STREAM, chunks: BEGUN, end: 'hold' }),
  },
  cut: {
    about: 'a clean end without a finish reason or [DONE]',
    make: () => ({ headers: EVENT_STREAM, chunks: BEGUN }),
  },
  'error-first': {
    about: 'status 200, and an error as the first event',
    make: () => ({
      headers: EVENT_STREAM,
      chunks: [
        'event: error\ndata: {"error":{"message":"out of memory","type":"server_error","code":500}}\n\n',
      ],
    }),
  },
  'storm-429': {
    about: 'every request is refused with 429 and Retry-After: 2',
    make: () =>
      refusalOf(
        429,
        { message: 'slow down', type: 'rate_limit_error', code: 'rate_limit_exceeded' },
        {
          'retry-after': '2',
        },
      ),
  },
  'slow-drip': {
    about: 'a good answer, one byte a write',
    make: () => oneByteAWrite(streamOf('北京', ' 🌍', ' fine.')),
  },
  'lying-length': {
    about: 'a Content-Length of ten times the body',
    make: () => {
      const { chunks, headers } = jsonOf('The answer is 42.');
      return { headers: { ...headers, 'content-length': String(10 * chunks[0]!.length) }, chunks };
    },
  },
  'endless-line': {
    about: 'an event of 256 MB without an end of line',
    make: () => ({
      headers: EVENT_STREAM,
      chunks: ['data: ', { repeat: 'x', times: 256 * MEBIBYTE }],
      end: 'hold',
    }),
  },
  'huge-event': {
    about: 'an event of 64 MB',
    make: () => {
      const [before, after] = textChunk('TEXT').split('TEXT') as [string, string];
      return {
        headers: EVENT_STREAM,
        chunks: [
          OPENING,
          before,
          { repeat: '0123456789abcdef', times: 4 * MEBIBYTE },
          after,
          endChunk(),
          DONE,
        ],
      };
    },
  },
  'deep-json': {
    about: 'an event of JSON nested 10,000 levels deep',
    make: () => ({
      headers: EVENT_STREAM,
      chunks: [`data: {"choices":${'['.repeat(10_000)}${']'.repeat(10_000)}}\n\n`, DONE],
    }),
  },
  html: {
    about: 'status 200 and a web page',
    make: () => ({
      headers: { 'content-type': 'text/html' },
      chunks: ['<!doctype html><title>Sign in</title><h1>Please sign in</h1>'],
    }),
  },
  'wrong-type': {
    about: 'a good event stream that calls itself text/plain',
    make: () => ({ ...streamOf('The answer is 42.'), headers: { 'content-type': 'text/plain' } }),
  },
  redirect: {
    about: 'status 307 to another path',
    make: () => ({ status: 307, headers: { location: '/elsewhere' }, chunks: [] }),
  },
  'gzip-bomb': { about: 'a megabyte of gzip that unpacks to one gigabyte', make: gzipBomb },
};

/** A gzip file may be many files, one after the other: the same four mebibytes of spaces, 256 times. */
function gzipBomb(): Script {
  const member = { base64: gzipSync(Buffer.alloc(4 * MEBIBYTE, ' ')).toString('base64') };
  return {
    headers: { ...EVENT_STREAM, 'content-encoding': 'gzip' },
    chunks: [{ base64: gzipSync('data: ').toString('base64') }, ...Array.from({ length: 256 }, () => member)],
  };
}
