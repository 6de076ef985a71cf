// OpenAI's Responses: items in, items out, and events that bear names. Every request holds its whole history.
// It must never pretend to have stored something: what refers to an earlier response is refused, and answers say `store: false`.
import type { Dialect } from '../../dialect.ts';
import {
  callItem,
  type ItemStatus,
  isCut,
  itemId,
  messageItem,
  reasoningItem,
  responseHead,
  responseState,
  textPart,
  thoughtForm,
  thoughtPart,
} from './body.ts';
import { parseResponsesRequest } from './request.ts';
import { ResponsesStream } from './stream.ts';

/** `POST /v1/responses`. */
export const responses: Dialect = {
  name: 'responses',

  parse: parseResponsesRequest,

  stream(meta, request) {
    return new ResponsesStream(meta, request);
  },

  whole(answer, meta, request, report) {
    const choice = answer.choices[0];
    const makers: ((place: number, status: ItemStatus) => object)[] = [];
    const form = thoughtForm(request);
    if (choice && choice.reasoning !== '') {
      const parts = [thoughtPart(form, choice.reasoning)];
      makers.push((place, status) => reasoningItem(itemId('reasoning', meta, place), status, form, parts));
    }
    if (choice && (choice.text !== '' || (choice.logprobs?.length ?? 0) > 0)) {
      const parts = [textPart(choice.text, choice.logprobs)];
      makers.push((place, status) => messageItem(itemId('message', meta, place), status, parts));
    }
    for (const call of choice?.toolCalls ?? []) {
      if (call.id === undefined && call.name === undefined && call.arguments === '') continue;
      makers.push((place, status) => callItem(itemId('call', meta, place), status, call));
    }
    const reason = choice?.reason;
    const output = makers.map((make, place) =>
      make(place, place === makers.length - 1 && isCut(reason) ? 'incomplete' : 'completed'),
    );
    return {
      ...responseHead(meta, request),
      ...responseState(output, { reason, usage: answer.usage ?? {}, report }),
    };
  },
};
