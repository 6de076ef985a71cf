// Anthropic's messages dialect: thinking, text and tool calls as blocks, errors in their own shape.
// Read `request.ts` for what is asked, `stream.ts` and `answer.ts` for what is answered.
import type { Dialect } from '../../dialect.ts';
import { contentOf, endOf, messagesError, messagesUsage } from './answer.ts';
import { readMessages } from './request.ts';
import { MessagesStream } from './stream.ts';

/** `POST /v1/messages`. */
export const messages: Dialect = {
  name: 'messages',
  idHeader: 'request-id',

  parse(body) {
    const { request, stream, names } = readMessages(body);
    return { calls: [request], parallel: 1, stream, includeUsage: true, ignored: [], names };
  },

  stream(meta) {
    return new MessagesStream(meta);
  },

  whole(answer, { id, model }, _request, report) {
    const choice = answer.choices[0];
    return {
      id: `msg_${id}`,
      type: 'message',
      role: 'assistant',
      model,
      content: choice ? contentOf(choice) : [],
      ...endOf(choice ?? {}),
      usage: messagesUsage(answer.usage ?? {}),
      ...(report && { sluice: report }),
    };
  },

  error: messagesError,
};
