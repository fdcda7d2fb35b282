"""Decides whether the layout of a rendered conversation is independent of its contents.

Such a template is rendered once for each sequence of roles; the text of a sample is then built from that rendering.
The check reads the syntax tree and is strict: a content may only be written to the output, alone or concatenated with
other text. A filter, a test, an assignment or a call on a content makes the template content-dependent. A
content-dependent template is rendered for every sample.
"""

from jinja2 import nodes

CONCATENATIONS = (nodes.Add, nodes.Concat)
SAFE_MEMBERS = {"role", "content"}
NEIGHBOUR_MEMBERS = {"previtem", "nextitem", "changed"}
"""Members of `loop` that give access to other messages."""


def is_content_independent(template: nodes.Template) -> bool:
    """Whether the template only writes contents to the output."""
    loop_variables = {loop.target.name for loop in template.find_all(nodes.For) if isinstance(loop.target, nodes.Name)}
    if any(not isinstance(loop.target, nodes.Name) for loop in template.find_all(nodes.For)):
        return False
    return all(_is_independent(child, loop_variables, is_written=False) for child in template.iter_child_nodes())


def _is_independent(node: nodes.Node, loop_variables: set[str], *, is_written: bool) -> bool:
    """Whether a node uses messages only in allowed ways. `is_written`: the node's value goes directly to the output."""
    match node:
        case nodes.Getattr(node=nodes.Name(name=str(name)), attr=str(member)) if name in loop_variables:
            return member == "role" or (member == "content" and is_written)
        case nodes.Getitem(node=nodes.Name(name=str(name)), arg=nodes.Const(value=member)) if name in loop_variables:
            return member == "role" or (member == "content" and is_written)
        case nodes.Getattr(node=nodes.Name(name="loop"), attr=str(member)):
            return member not in NEIGHBOUR_MEMBERS
        case nodes.For(iter=nodes.Name(name="messages")):
            rest = [child for child in node.iter_child_nodes() if child is not node.iter and child is not node.target]
            return all(_is_independent(child, loop_variables, is_written=False) for child in rest)
        case nodes.Name(name=str(name)):
            return node.ctx != "load" or (name not in loop_variables and name != "messages")
        case nodes.Output():
            return all(_is_independent(child, loop_variables, is_written=True) for child in node.iter_child_nodes())
        case nodes.CondExpr():
            branches = [branch for branch in (node.expr1, node.expr2) if branch is not None]
            return _is_independent(node.test, loop_variables, is_written=False) and all(
                _is_independent(branch, loop_variables, is_written=is_written) for branch in branches
            )
        case nodes.Call(node=nodes.EnvironmentAttribute(name="joined")):
            return all(_is_independent(child, loop_variables, is_written=is_written) for child in node.args)
        case _:
            passes_on = is_written and isinstance(node, CONCATENATIONS)
            return all(
                _is_independent(child, loop_variables, is_written=passes_on) for child in node.iter_child_nodes()
            )
