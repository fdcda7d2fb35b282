r"""The common chat formats as Jinja sources. White space is part of a format and is exact.

The sources are the templates in the models' own repositories (Llama-2-chat, Meta-Llama-3-Instruct, Phi-3-mini, gemma-it,
zephyr-7b-beta, vicuna-7b-v1.5, Qwen3), ChatML of openai/openai-python, the prompts of tatsu-lab/stanford_alpaca, and the
turns of anthropics/hh-rlhf. One difference: these templates write bos before the first turn only if the format requires it.
"""

CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

CHATML_TOOLS = """\
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages and messages[0].role == 'system' -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}
{{- 'You may call these functions:\\n<tools>\\n' -}}
{%- for tool in tools -%}{{- tool | tojson + '\\n' -}}{%- endfor -%}
{{- '</tools>\\nTo call one, answer with its name and arguments as JSON between tags and nothing else:\\n' -}}
{{- '<tool_call>\\n{"name": "...", "arguments": {...}}\\n</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if not (tools and loop.first and message.role == 'system') -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
{%- for call in message.tool_calls or [] -%}
{{- '\\n' if message.content or not loop.first -}}
{{- '<tool_call>\\n{"name": ' + call.function.name | tojson -}}
{{- ', "arguments": ' + call.function.arguments | tojson + '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""ChatML with tool calls in the format of Hermes and Qwen. The tools are declared as in `chat` and `serve` of lazarus-models."""

PLAIN = """\
{%- for message in messages -%}
{{- message.content + (eos_token if message.role == 'assistant' else '\\n') -}}
{%- endfor -%}
"""

LLAMA2 = """\
{%- set system = messages[0].content if messages and messages[0].role == 'system' else none -%}
{%- for message in messages if message.role != 'system' -%}
{%- if message.role == 'user' -%}
{{- bos_token + '[INST] ' -}}
{%- if loop.first and system is not none -%}{{- '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' -}}{%- endif -%}
{{- message.content | trim + ' [/INST]' -}}
{%- elif message.role == 'assistant' -%}
{{- ' ' + message.content | trim + ' ' + eos_token -}}
{%- else -%}{{- raise_exception('llama2 knows the roles system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
"""

LLAMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""

PHI = """\
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""

GEMMA = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- raise_exception('gemma knows no system role') -}}{%- endif -%}
{%- set role = 'model' if message.role == 'assistant' else message.role -%}
{{- '<start_of_turn>' + role + '\\n' + message.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""

ZEPHYR = """\
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""

QWEN3 = """\
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages and messages[0].role == 'system' -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}
{{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n' -}}
{{- 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' + tool | tojson -}}{%- endfor -%}
{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within ' -}}
{{- '<tool_call></tool_call> XML tags:\\n<tool_call>\\n' -}}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{%- set content = message.content.split('</think>')[-1] -%}
{%- set thoughts = '' -%}
{%- if '</think>' in message.content -%}
{%- set content = content.lstrip('\\n') -%}
{%- set thoughts = message.content.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>assistant\\n' -}}
{%- generation -%}
{{- '<think>\\n' + thoughts + '\\n</think>\\n\\n' + content.lstrip('\\n') -}}
{%- for call in message.tool_calls or [] -%}
{{- '\\n' if content or not loop.first -}}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endgeneration -%}
{{- '\\n' -}}
{%- elif message.role == 'tool' -%}
{{- '<|im_start|>user' if loop.first or messages[loop.index0 - 1].role != 'tool' -}}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
{{- '<|im_end|>\\n' if loop.last or messages[loop.index0 + 1].role != 'tool' -}}
{%- elif not (tools and loop.first and message.role == 'system') -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Qwen 3's format with the thoughts of every answer, also empty ones. The published template drops the thoughts of earlier
turns, so its rendering of several turns is not the text that the model generated."""

VICUNA = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- message.content + ' ' -}}
{%- elif message.role == 'user' -%}{{- 'USER: ' + message.content + ' ' -}}
{%- elif message.role == 'assistant' -%}{{- 'ASSISTANT: ' + message.content + eos_token -}}
{%- else -%}{{- raise_exception('vicuna knows the roles system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""

ALPACA = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- message.content + '\\n\\n' -}}
{%- elif message.role == 'user' -%}{{- '### Instruction:\\n' + message.content + '\\n\\n' -}}
{%- elif message.role == 'assistant' -%}{{- '### Response:\\n' + message.content + eos_token + '\\n\\n' -}}
{%- else -%}{{- raise_exception('alpaca knows the roles system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}
"""

INSTRUCT = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- message.content + '\\n\\n' -}}
{%- elif message.role == 'user' -%}
{%- if loop.first -%}
{{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\\n\\n' -}}
{%- endif -%}
{{- '### Instruction:\\n' + message.content + '\\n\\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '### Response:\\n' -}}
{%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
{{- '\\n\\n' -}}
{%- else -%}{{- raise_exception('instruct knows the roles system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}
"""
"""Alpaca's prompt with its preamble. A system message replaces the preamble. `ALPACA` has none without a system message."""

CHAT = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- message.content + '\\n\\n' -}}
{%- elif message.role == 'user' -%}{{- 'Human: ' + message.content + '\\n\\n' -}}
{%- elif message.role == 'assistant' -%}
{{- 'Assistant:' -}}
{%- generation -%}{{- ' ' + message.content | trim + eos_token -}}{%- endgeneration -%}
{{- '\\n\\n' -}}
{%- else -%}{{- raise_exception('chat knows the roles system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}
"""
"""The space after `Assistant:` belongs to the answer, so that its first word is the token that it is within a text. An answer
of the model begins with that space; it is trimmed, so that the answer is the same text in the next turn."""
