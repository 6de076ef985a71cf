// Splits a model's raw text into its thinking (`<think>...</think>`) and its answer, however the text is cut.
// It must never show a tag or a part of one as thinking or answer, and never wait longer than a tag is long.
// Pure: no clock, no input or output.

const OPEN = '<think>';
const CLOSE = '</think>';

export interface ThinkPiece {
  readonly kind: 'reasoning' | 'text';
  readonly text: string;
}

export interface ThinkTagsOptions {
  /** The prompt already ended with `<think>`: the model begins inside its thinking (DeepSeek-R1). */
  readonly beginsInReasoning: boolean;
  /** It goes on inside a thought that is there already: no tag opens it, and its first white space is its own. */
  readonly continues?: boolean | undefined;
}

/**
 * One leading `<think>` is eaten, also when the model repeats the prompt's own. A `<think>` later on is ordinary text:
 * only a leading one is a tag. Never closed means that all of it is thinking. White space right after either tag is
 * layout, not content, and is dropped.
 */
export class ThinkTags {
  private state: 'before-open' | 'reasoning' | 'text';
  private readonly beginsInReasoning: boolean;
  private skipSpace = false;
  private held = '';

  constructor(options: ThinkTagsOptions) {
    this.beginsInReasoning = options.beginsInReasoning;
    this.state = options.continues === true ? 'reasoning' : 'before-open';
  }

  /** Whether what comes next counts as thinking, as far as can be told yet. */
  get inReasoning(): boolean {
    return this.state === 'reasoning' || (this.state === 'before-open' && this.beginsInReasoning);
  }

  push(piece: string): ThinkPiece[] {
    this.held += piece;
    const out: ThinkPiece[] = [];
    while (this.advance(out)) {
      // Each turn either changes the state or has nothing left to do.
    }
    return out;
  }

  /** What was held back and turned out not to be a tag; call once, at the end. */
  flush(): ThinkPiece[] {
    const out: ThinkPiece[] = [];
    emit(out, this.inReasoning ? 'reasoning' : 'text', this.held);
    this.held = '';
    return out;
  }

  private advance(out: ThinkPiece[]): boolean {
    if (this.skipSpace) {
      this.held = this.held.trimStart();
      if (this.held === '') return false;
      this.skipSpace = false;
    }
    if (this.state === 'before-open') return this.beforeOpen();
    if (this.state === 'text') {
      emit(out, 'text', this.held);
      this.held = '';
      return false;
    }
    const at = this.held.indexOf(CLOSE);
    if (at >= 0) {
      emit(out, 'reasoning', this.held.slice(0, at));
      this.held = this.held.slice(at + CLOSE.length);
      this.state = 'text';
      this.skipSpace = true;
      return true;
    }
    const keep = tailThatMayBegin(CLOSE, this.held);
    emit(out, 'reasoning', this.held.slice(0, this.held.length - keep));
    this.held = this.held.slice(this.held.length - keep);
    return false;
  }

  private beforeOpen(): boolean {
    const start = this.held.trimStart();
    if (start.length < OPEN.length && OPEN.startsWith(start)) return false;
    if (start.startsWith(OPEN)) {
      this.held = start.slice(OPEN.length);
      this.state = 'reasoning';
      this.skipSpace = true;
    } else if (this.beginsInReasoning) {
      this.held = start;
      this.state = 'reasoning';
    } else {
      // No thinking at all: the white space before was the answer's own.
      this.state = 'text';
    }
    return true;
  }
}

function emit(out: ThinkPiece[], kind: ThinkPiece['kind'], text: string): void {
  if (text !== '') out.push({ kind, text });
}

function tailThatMayBegin(tag: string, text: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--) {
    if (tag.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
