// What a codec wrote, as whole events, each with its number in its stream: by it a client says later what it had last.
// Pure. It never looks into an event; an event is whatever ends as its dialect's events end.

/** Where numbers stand in an event: a line of a server-sent event (HTML, 9.2), or a member of a JSON object on a line. */
interface Framing {
  readonly end: string;
  number(event: string, id: string): string;
  /** Undefined: it says nothing. */
  read(event: string): ReadEvent | undefined;
}

/** An event without its frame. */
export interface ReadEvent {
  /** Undefined: it has none. */
  readonly number: number | undefined;
  /** JSON, or a dialect's end mark. */
  readonly data: string;
}

const SERVER_SENT_EVENTS: Framing = {
  end: '\n\n',
  number: (event, id) => `id: ${id}\n${event}`,
  read: (event) => {
    const at = event.indexOf('\ndata: ') + 1;
    if (!event.startsWith('data: ', at)) return undefined;
    const id = event.startsWith('id: ') ? event.slice('id: '.length, event.indexOf('\n')) : '';
    return { number: parseEventId(id)?.number, data: event.slice(at + 'data: '.length) };
  },
};

/** An empty line, which fills a silence, has a number that it does not show. */
const JSON_LINES: Framing = {
  end: '\n',
  number: (event, id) => {
    if (!event.startsWith('{')) return event;
    const rest = event.slice(1);
    return `{"event_id":"${id}"${/^\s*}/.test(rest) ? '' : ','}${rest}`;
  },
  read: (event) => {
    const line = event.trimEnd();
    if (line === '') return undefined;
    const [head, id] = /^\{"event_id":"([^"]*)",?/.exec(line) ?? [];
    if (head === undefined) return { number: undefined, data: line };
    return { number: parseEventId(id!)?.number, data: `{${line.slice(head.length)}` };
  },
};

/** Fifteen digits are exact as a number, and more than any stream has. */
const EVENT_ID = /^([\w-]{1,64}):(\d{1,15})$/;

/** Numbers one stream's events from 1. */
export class EventNumbers {
  readonly #stream: string;
  readonly #framing: Framing;
  #last = 0;
  /** The beginning of an event whose end has not been written. */
  #begun = '';

  /** `contentType`: of a codec. Numbers may have gaps, and only ever rise. */
  constructor(stream: string, contentType: string) {
    this.#stream = stream;
    this.#framing = framingOf(contentType);
  }

  /** The events that end in this text, numbered. */
  take(text: string): string[] {
    const { end, number } = this.#framing;
    const all = this.#begun + text;
    const events: string[] = [];
    let start = 0;
    for (let at = all.indexOf(end); at >= 0; at = all.indexOf(end, start)) {
      const next = at + end.length;
      this.#last += 1;
      events.push(number(all.slice(start, next), `${this.#stream}:${this.#last}`));
      start = next;
    }
    this.#begun = all.slice(start);
    return events;
  }
}

/** The events of a text that holds whole ones, numbered or not, but for those that say nothing. `contentType`: of their codec. */
export function readEvents(text: string, contentType: string): ReadEvent[] {
  const { end, read } = framingOf(contentType);
  const events = text.split(end).map((event) => (event === '' ? undefined : read(event)));
  return events.filter((event) => event !== undefined);
}

function framingOf(contentType: string): Framing {
  return contentType.startsWith('text/event-stream') ? SERVER_SENT_EVENTS : JSON_LINES;
}

/** What a client says that it had last; undefined: this is no id of an event. */
export function parseEventId(text: string): { readonly stream: string; readonly number: number } | undefined {
  const [, stream, number] = EVENT_ID.exec(text) ?? [];
  return stream === undefined ? undefined : { stream, number: Number(number) };
}
