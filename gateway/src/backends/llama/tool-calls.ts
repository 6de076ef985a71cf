// Finds the tool calls in a model's text, however the text is cut, and gives their arguments out as they come.
// A call is one once its name and its arguments' beginning are read: if the answer breaks off before, all of it is shown
// as the text that it is, and if it breaks off later, the call stays as far as it came. It must never show a part of a
// tag, and never lose a character that is not white space, a tag or a call.
// Pure, but for the ids.
import { randomBytes } from 'node:crypto';
import { type ArgumentsPiece, CallBody } from './call-body.ts';
import type { CallForm } from './call-form.ts';

export type CallPiece =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'tool-call';
      readonly index: number;
      /** With a call's first piece; so is `name`. */
      readonly id?: string | undefined;
      readonly name?: string | undefined;
      /** Of the arguments. */
      readonly text: string;
    };

export interface ToolCallsOptions {
  readonly form: CallForm;
  /** The answer ends with its first call. */
  readonly isSingle: boolean;
  readonly newId?: (() => string) | undefined;
}

export class ToolCalls {
  private readonly form: CallForm;
  private readonly isSingle: boolean;
  private readonly newId: () => string;
  private state: 'text' | 'call' | 'behind' = 'text';
  private held = '';
  private body: CallBody | undefined;
  /** Of the call under way, as long as it could turn out to be text. */
  private raw = '';
  private calls = 0;
  /** The answer is over: it has the one call that it may have. */
  isOver = false;

  constructor(options: ToolCallsOptions) {
    this.form = options.form;
    this.isSingle = options.isSingle;
    this.newId = options.newId ?? (() => `call_${randomBytes(12).toString('hex')}`);
  }

  /** Whether any call was given out. */
  get hasCalls(): boolean {
    return this.calls > 0;
  }

  push(text: string): CallPiece[] {
    this.held += text;
    const out: CallPiece[] = [];
    while (!this.isOver && this.advance(out)) {
      // Each turn takes something of what is held, or changes the state.
    }
    return out;
  }

  /** What was held back and turned out to be text. Call once, at the end. */
  flush(): CallPiece[] {
    const out: CallPiece[] = [];
    if (this.isOver) return out;
    if (this.state === 'call') {
      if (!this.isOpen) emit(out, this.raw + this.held);
    } else if (this.held.trim() !== '' || !this.hasCalls) emit(out, this.held);
    this.held = '';
    return out;
  }

  private get isOpen(): boolean {
    return this.body?.isOpen ?? false;
  }

  private advance(out: CallPiece[]): boolean {
    if (this.held === '') return false;
    if (this.state === 'call') return this.inCall(out);
    return this.state === 'behind' ? this.behindCall() : this.inText(out);
  }

  private inText(out: CallPiece[]): boolean {
    const { open, marks } = this.form;
    let at = -1;
    let tag = '';
    for (const one of [open, ...marks]) {
      const found = this.held.indexOf(one);
      if (found >= 0 && (at < 0 || found < at)) [at, tag] = [found, one];
    }
    if (at >= 0) {
      const before = this.held.slice(0, at).trimEnd();
      const space = this.held.slice(before.length, at);
      emit(out, before);
      this.held = this.held.slice(at + tag.length);
      if (tag !== open) return true;
      this.state = 'call';
      this.raw = space + tag;
      this.body = new CallBody(this.form);
      return true;
    }
    const keep = this.heldBack();
    emit(out, this.held.slice(0, this.held.length - keep));
    this.held = this.held.slice(this.held.length - keep);
    return false;
  }

  /** White space before a tag goes with it, so it waits for what comes; so does what may become one. */
  private heldBack(): number {
    let keep = 0;
    for (const tag of [this.form.open, ...this.form.marks])
      keep = Math.max(keep, tailThatMayBegin(tag, this.held));
    const rest = this.held.slice(0, this.held.length - keep);
    return keep + rest.length - rest.trimEnd().length;
  }

  private inCall(out: CallPiece[]): boolean {
    const body = this.body!;
    const wasOpen = body.isOpen;
    const { pieces, rest } = body.push(this.held);
    if (!body.isOpen) this.raw += this.held.slice(0, this.held.length - rest.length);
    this.held = rest;
    for (const piece of pieces) this.emitCall(out, piece);
    if (body.isBad) {
      // It never was a call.
      emit(out, this.raw);
      this.raw = '';
      this.state = 'text';
    } else if (body.isDone) {
      this.state = 'behind';
      this.calls++;
      this.isOver = this.isSingle;
    } else return false;
    return wasOpen || this.held !== '';
  }

  private emitCall(out: CallPiece[], { name, text }: ArgumentsPiece): void {
    const first = name === undefined ? {} : { id: this.newId(), name };
    out.push({ kind: 'tool-call', index: this.calls, ...first, text });
  }

  /** Between the arguments and the closing tag there is nothing to show: white space, a fence's end. */
  private behindCall(): boolean {
    const rest = this.held.replace(/^[\s`}]+/, '');
    if (rest.startsWith(this.form.close)) {
      this.held = rest.slice(this.form.close.length);
      this.state = 'text';
      return true;
    }
    if (this.form.close.startsWith(rest)) return false;
    this.held = rest;
    this.state = 'text';
    return true;
  }
}

function emit(out: CallPiece[], text: string): void {
  if (text !== '') out.push({ kind: 'text', text });
}

function tailThatMayBegin(tag: string, text: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--) {
    if (tag.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
