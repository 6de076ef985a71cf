// The clients that must work unchanged, each with what it shows its user.
import { aiSdk, aiSdkOpenAi } from './ai-sdk-client.ts';
import { anthropicNode } from './anthropic-client.ts';
import { ALL, type Client } from './client.ts';
import { curl } from './curl-client.ts';
import { langchainNode } from './langchain-client.ts';
import { openaiNode } from './openai-client.ts';
import { openaiResponsesNode } from './openai-responses-client.ts';
import { pythonClient } from './python-client.ts';

export const CLIENTS: readonly Client[] = [
  openaiNode,
  openaiResponsesNode,
  aiSdk,
  aiSdkOpenAi,
  langchainNode,
  anthropicNode,
  pythonClient({
    name: 'Anthropic (Python)',
    script: 'anthropic_client.py',
    packages: ['anthropic'],
    shows: ALL,
  }),
  pythonClient({
    name: 'openai (Python)',
    script: 'openai_client.py',
    packages: ['openai'],
    shows: ALL,
  }),
  pythonClient({
    name: 'openai (Python), Responses',
    script: 'openai_responses_client.py',
    packages: ['openai'],
    shows: ALL,
  }),
  pythonClient({
    name: 'LangChain (Python)',
    script: 'langchain_client.py',
    packages: ['langchain-openai'],
    // It drops what is not OpenAI's own: its pages say so.
    shows: { ...ALL, reasoning: false },
  }),
  pythonClient({
    name: 'a reader of lines (Python, requests)',
    script: 'line_reader.py',
    packages: ['requests'],
    shows: { whole: false, reasoning: false, usage: false, tools: false, errors: false },
  }),
  curl,
];
