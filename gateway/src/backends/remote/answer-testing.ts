// For tests of answers: a request, and what a client would have in the end of the events that were pushed.
// It must never know a dialect, and fails where the events' own rules are broken.
import assert from 'node:assert/strict';
import type { ChatRequest, TokenEvent } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { AnswerOptions } from './upstream-answer.ts';
import { type Traits, traitsOf } from './vendors.ts';

export function requestWith(members: Partial<ChatRequest> = {}): ChatRequest {
  return {
    model: 'asked',
    prompt: { kind: 'messages', messages: [{ role: 'user', content: 'hi' }] },
    sampling: {},
    stop: [],
    choices: 1,
    extra: {},
    ...members,
  };
}

/** The error that `optionsWith` makes of what a server told. */
export class ToldError extends GatewayError {
  readonly toldStatus: number;
  readonly body: string;

  constructor(toldStatus: number, body: string) {
    super('backend_failed', 'The back end told an error.');
    this.toldStatus = toldStatus;
    this.body = body;
  }
}

/** Options that collect into `events`; made-up ids are made-1, made-2. */
export function optionsWith(
  events: TokenEvent[],
  request: ChatRequest = requestWith(),
  traits: Partial<Traits> = {},
  more: Partial<AnswerOptions> = {},
): AnswerOptions {
  let ids = 0;
  return {
    traits: { ...traitsOf('generic'), ...traits },
    request,
    speaker: 'speaker',
    sink: (event) => events.push(event),
    failure: (status, body) => new ToldError(status, body),
    newId: () => `made-${++ids}`,
    ...more,
  };
}

export interface ReadChoice {
  text: string;
  reasoning: string;
  readonly calls: { id: string | undefined; name: string | undefined; arguments: string }[];
  reason: string | undefined;
}

/** A choice that ended with `stop`, and what else it has. */
export function choiceWith(members: Partial<ReadChoice>): ReadChoice {
  return { text: '', reasoning: '', calls: [], reason: 'stop', ...members };
}

/** What the events come to, choice by choice. Asserts their order: start, deltas that say something, ends, one finish. */
export function readChoices(events: readonly TokenEvent[]): ReadChoice[] {
  const choices: ReadChoice[] = [];
  const choiceOf = (index: number): ReadChoice => {
    while (choices.length <= index) choices.push({ text: '', reasoning: '', calls: [], reason: undefined });
    const choice = choices[index]!;
    assert.equal(choice.reason, undefined, 'nothing comes behind the end of a choice');
    return choice;
  };
  for (const [at, event] of events.entries()) {
    assert.equal(event.type === 'start', at === 0, 'one start, first');
    assert.equal(event.type === 'finish' && at !== events.length - 1, false, 'one finish, last');
    if (event.type === 'text-delta') {
      assert.notEqual(event.text, '');
      choiceOf(event.choice).text += event.text;
    } else if (event.type === 'reasoning-delta') {
      assert.notEqual(event.text, '');
      choiceOf(event.choice).reasoning += event.text;
    } else if (event.type === 'tool-call-delta') {
      const { calls } = choiceOf(event.choice);
      assert.ok(event.index <= calls.length, 'calls are numbered 0, 1, 2');
      if (event.index === calls.length) {
        assert.ok(event.id, 'a call begins with its id');
        calls.push({ id: event.id, name: undefined, arguments: '' });
      } else assert.equal(event.id, undefined, 'an id is told once');
      const call = calls[event.index]!;
      if (event.name !== undefined) {
        assert.equal(call.name, undefined, 'a name is told once');
        call.name = event.name;
      }
      call.arguments += event.arguments;
    } else if (event.type === 'choice-end') choiceOf(event.choice).reason = event.reason;
  }
  return choices;
}

/** The failure of a back end that `run` throws. */
export function failureOf(run: () => void): GatewayError {
  try {
    run();
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError, String(thrown));
    assert.equal(thrown.code, 'backend_failed');
    return thrown;
  }
  return assert.fail('it did not fail');
}
