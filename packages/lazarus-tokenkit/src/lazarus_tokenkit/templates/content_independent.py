"""Whether a template only ever passes contents on, so that what it renders for some roles is the same for any contents.

Such a template needs to be rendered once for each sequence of roles; a sample's text is then put together from that.
The check reads the syntax tree and is strict: contents may only be written out, alone or joined with other text. A
filter, a test, an assignment or a call that sees a content makes a template not opaque, and it is rendered each time.
"""

from jinja2 import nodes

JOINING = (nodes.Add, nodes.Concat)
SAFE_MEMBERS = {"role", "content"}
LOOKING_AROUND = {"previtem", "nextitem", "changed"}
"""Members of `loop` that show other messages."""


def is_opaque(template: nodes.Template) -> bool:
    """Whether contents are only passed on."""
    targets = {loop.target.name for loop in template.find_all(nodes.For) if isinstance(loop.target, nodes.Name)}
    if any(not isinstance(loop.target, nodes.Name) for loop in template.find_all(nodes.For)):
        return False
    return all(_passes(child, targets, is_written=False) for child in template.iter_child_nodes())


def _passes(node: nodes.Node, targets: set[str], *, is_written: bool) -> bool:
    """Whether a node uses messages in allowed ways only; `is_written` says that its value goes straight into the text."""
    match node:
        case nodes.Getattr(node=nodes.Name(name=str(name)), attr=str(member)) if name in targets:
            return member == "role" or (member == "content" and is_written)
        case nodes.Getitem(node=nodes.Name(name=str(name)), arg=nodes.Const(value=member)) if name in targets:
            return member == "role" or (member == "content" and is_written)
        case nodes.Getattr(node=nodes.Name(name="loop"), attr=str(member)):
            return member not in LOOKING_AROUND
        case nodes.For(iter=nodes.Name(name="messages")):
            rest = [child for child in node.iter_child_nodes() if child is not node.iter and child is not node.target]
            return all(_passes(child, targets, is_written=False) for child in rest)
        case nodes.Name(name=str(name)):
            return node.ctx != "load" or (name not in targets and name != "messages")
        case nodes.Output():
            return all(_passes(child, targets, is_written=True) for child in node.iter_child_nodes())
        case nodes.CondExpr():
            branches = [branch for branch in (node.expr1, node.expr2) if branch is not None]
            return _passes(node.test, targets, is_written=False) and all(
                _passes(branch, targets, is_written=is_written) for branch in branches
            )
        case nodes.Call(node=nodes.EnvironmentAttribute(name="joined")):
            return all(_passes(child, targets, is_written=is_written) for child in node.args)
        case _:
            passes_on = is_written and isinstance(node, JOINING)
            return all(_passes(child, targets, is_written=passes_on) for child in node.iter_child_nodes())
