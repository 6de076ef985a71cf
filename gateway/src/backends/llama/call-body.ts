// Reads one tool call between its tags, character by character: the name, and the arguments as they were written.
// It must never judge the arguments: a model that writes broken JSON has written it, and the client will see that.
// Pure.
import { CALL_SEPARATOR, type CallForm } from './call-form.ts';

export interface ArgumentsPiece {
  /** With the first piece. */
  readonly name?: string | undefined;
  readonly text: string;
}

/** A name longer than this is none. */
const MAX_NAME = 256;
const NO_ARGUMENTS = '{}';
const ARGUMENT_NAMES: ReadonlySet<string> = new Set(['arguments', 'parameters']);

type State =
  | 'start'
  | 'member'
  | 'key'
  | 'colon'
  | 'value'
  | 'name'
  | 'arguments'
  | 'other'
  | 'header'
  | 'header-name'
  | 'fence';

export class CallBody {
  /** A piece was given out. */
  isOpen = false;
  isDone = false;
  /** It is no call, and nothing of it was given out. */
  isBad = false;
  private readonly isObject: boolean;
  private state: State;
  private word = '';
  private key = '';
  private name: string | undefined;
  private argumentsText = '';
  private hasArguments = false;
  /** Of the arguments. */
  private value = new ValueEnd();
  /** Of the value that is being read. */
  private current = this.value;

  constructor(form: CallForm) {
    this.isObject = form.isObject;
    this.state = form.isObject ? 'start' : 'header';
  }

  /** Reads on; `rest` is what stands behind the call's end. */
  push(text: string): { readonly pieces: readonly ArgumentsPiece[]; readonly rest: string } {
    let at = 0;
    while (at < text.length && !this.isDone && !this.isBad) {
      const isTaken = this.take(text.charAt(at));
      if (isTaken) at++;
    }
    return { pieces: this.given(), rest: text.slice(at) };
  }

  private given(): readonly ArgumentsPiece[] {
    if (this.isBad || this.name === undefined) return [];
    const isReady = this.isDone || this.streams;
    if (!isReady || (this.isOpen && this.argumentsText === '')) return [];
    const piece = { ...(this.isOpen ? {} : { name: this.name }), text: this.argumentsText };
    this.isOpen = true;
    this.argumentsText = '';
    return [piece];
  }

  /** Arguments in brackets can be passed on as they come. */
  private get streams(): boolean {
    return this.value.isList && (this.hasArguments || this.state === 'arguments');
  }

  /** Whether the character was taken; what was not belongs to the next state. */
  private take(character: string): boolean {
    const isSpace = /\s/.test(character);
    switch (this.state) {
      case 'start':
        if (character === '{') this.state = 'member';
        else if (!isSpace) this.isBad = true;
        return true;
      case 'member':
        return this.inMember(character, isSpace);
      case 'key':
      case 'name':
        return this.inWord(character);
      case 'colon':
        if (character === ':') this.state = 'value';
        else if (!isSpace) this.giveUp();
        return true;
      case 'value':
        return isSpace || this.atValue(character);
      case 'arguments':
      case 'other':
        return this.inValue(character);
      default:
        return this.beforeArguments(character, isSpace);
    }
  }

  private inMember(character: string, isSpace: boolean): boolean {
    if (isSpace || character === ',') return true;
    if (character === '"') {
      this.word = character;
      this.state = 'key';
      return true;
    }
    if (character === '}') {
      this.finish();
      return true;
    }
    // A bracket was forgotten: what is there is there.
    if (this.hasArguments) this.finish();
    else this.giveUp();
    return false;
  }

  /** A key or a name, up to its closing quote. */
  private inWord(character: string): boolean {
    this.word += character;
    if (this.word.length > MAX_NAME * 6) this.giveUp();
    if (character !== '"' || /(^|[^\\])(\\\\)*\\"$/.test(this.word)) return true;
    const word = decoded(this.word);
    if (word === undefined || word.length > MAX_NAME) this.giveUp();
    else if (this.state === 'key') {
      this.key = word;
      this.state = 'colon';
    } else {
      this.name ??= word;
      if (word === '') this.giveUp();
      this.state = 'member';
    }
    return true;
  }

  private atValue(character: string): boolean {
    if (this.key === 'name') {
      if (character !== '"') {
        this.giveUp();
        return true;
      }
      this.word = character;
      this.state = 'name';
      return true;
    }
    const isFirst = ARGUMENT_NAMES.has(this.key) && !this.hasArguments;
    this.state = isFirst ? 'arguments' : 'other';
    const value = new ValueEnd();
    // The arguments' own stays as it was: how far they may be passed on depends on it.
    if (isFirst) this.value = value;
    this.current = value;
    return false;
  }

  private inValue(character: string): boolean {
    const isTaken = this.current.take(character);
    if (isTaken && this.state === 'arguments') this.argumentsText += character;
    if (!this.current.isOver) return true;
    const isArguments = this.state === 'arguments';
    this.state = 'member';
    if (isArguments) this.closeArguments();
    return isTaken;
  }

  private closeArguments(): void {
    this.hasArguments = true;
    if (!this.isObject) this.finish();
    if (this.value.isList) return;
    // Some models write the arguments as a text of JSON, and some nothing for none.
    if (this.argumentsText.startsWith('"')) {
      this.argumentsText = decoded(this.argumentsText) ?? this.argumentsText;
    } else if (this.argumentsText === 'null') this.argumentsText = NO_ARGUMENTS;
  }

  private beforeArguments(character: string, isSpace: boolean): boolean {
    if (this.state === 'header') {
      this.word += character;
      if (this.word.length > MAX_NAME) this.giveUp();
      if (!this.word.endsWith(CALL_SEPARATOR)) return true;
      const header = this.word.slice(0, -CALL_SEPARATOR.length).trim();
      this.word = '';
      // Older models write a kind here, and the name behind it.
      if (header !== 'function') this.name = header;
      this.state = header === 'function' ? 'header-name' : 'fence';
      if (header === '') this.giveUp();
      return true;
    }
    if (this.state === 'header-name') {
      if (character !== '\n') {
        this.word += character;
        if (this.word.length > MAX_NAME) this.giveUp();
        return true;
      }
      this.name = this.word.trim();
      this.state = 'fence';
      if (this.name === '') this.giveUp();
      return true;
    }
    if (character === '{' || character === '[') {
      this.state = 'arguments';
      this.current = this.value;
      return false;
    }
    if (isSpace || /[`a-z]/.test(character)) return true;
    if (character === '<') {
      this.finish();
      return false;
    }
    this.giveUp();
    return true;
  }

  private finish(): void {
    if (this.name === undefined) {
      this.giveUp();
      return;
    }
    this.isDone = true;
    if (!this.isOpen && this.argumentsText === '') this.argumentsText = NO_ARGUMENTS;
  }

  private giveUp(): void {
    if (this.isOpen) this.isDone = true;
    else this.isBad = true;
  }
}

/** Where a JSON value ends. */
export class ValueEnd {
  isOver = false;
  /** An object or a list. */
  isList = false;
  private kind: 'none' | 'text' | 'list' | 'word' = 'none';
  private depth = 0;
  private inText = false;
  private isEscaped = false;

  /** Whether the character belongs to the value. */
  take(character: string): boolean {
    if (this.kind === 'none') {
      this.kind = character === '"' ? 'text' : character === '{' || character === '[' ? 'list' : 'word';
      this.isList = this.kind === 'list';
    }
    if (this.inText) {
      this.inString(character);
      return true;
    }
    if (character === '"' && this.kind !== 'word') {
      this.inText = true;
      return true;
    }
    if (this.kind === 'word') {
      this.isOver = /[\s,}<]/.test(character);
      return !this.isOver;
    }
    // Neither stands in JSON outside a text: a tag or a fence begins, and a bracket was forgotten.
    if (character === '<' || character === '`') {
      this.isOver = true;
      return false;
    }
    if (character === '{' || character === '[') this.depth++;
    else if (character === '}' || character === ']') this.depth--;
    this.isOver = this.depth <= 0;
    return true;
  }

  private inString(character: string): void {
    if (this.isEscaped) this.isEscaped = false;
    else if (character === '\\') this.isEscaped = true;
    else if (character === '"') {
      this.inText = false;
      this.isOver = this.kind === 'text';
    }
  }
}

function decoded(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
