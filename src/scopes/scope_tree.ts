/**
 * A node of a mutable tree.
 *
 * The children of a parent form a linked list, because a `Set` would cost as much as the
 * rest of a scope. The fields are public, because nodes may belong to different copies
 * of this module.
 */
export interface TreeNode<T extends TreeNode<T>> {
  readonly parent: (T & ParentNode<T>) | undefined;
  /** The next older sibling. */
  previous: T | undefined;
  /** The next younger sibling. */
  next: T | undefined;
  /** The youngest child. */
  readonly lastChild: T | undefined;
}

/** A node that has children. */
export interface ParentNode<T> {
  lastChild: T | undefined;
}

/** Adds a node to its parent. The node's `previous` must be the parent's last child. */
export function link<T extends TreeNode<T>>(
  node: T,
  parent: ParentNode<T>,
): void {
  if (node.previous !== undefined) node.previous.next = node;
  parent.lastChild = node;
}

/** Removes a node from its parent and its siblings. */
export function unlink<T extends TreeNode<T>>(
  node: T,
  parent: ParentNode<T>,
): void {
  const { previous, next } = node;
  // Few writes: most nodes have no siblings, and the cost of each write is measurable.
  if (next === undefined) {
    parent.lastChild = previous;
  } else {
    next.previous = previous;
    node.next = undefined;
  }
  if (previous === undefined) return;
  previous.next = next;
  node.previous = undefined;
}

/**
 * Moves the children of a removed node to its parent, if any.
 *
 * @param adopt Sets the parent of a child.
 */
export function reparentChildren<T extends TreeNode<T>>(
  node: ParentNode<T>,
  parent: (T & ParentNode<T>) | undefined,
  adopt: (child: T) => void,
): void {
  const children: T[] = [];
  let child = node.lastChild;
  for (; child !== undefined; child = child.previous) children.push(child);
  node.lastChild = undefined;
  for (const each of children.reverse()) {
    each.previous = parent?.lastChild;
    each.next = undefined;
    adopt(each);
    if (parent !== undefined) link(each, parent);
  }
}

/**
 * Returns a node and all nodes below it: innermost first, and the latest sibling first.
 *
 * A loop, because recursion over deeply nested scopes would overflow the stack.
 */
export function subtree<T extends TreeNode<T>>(root: T): T[] {
  const nodes: T[] = [];
  const remaining: T[] = [root];
  for (let node; (node = remaining.pop()) !== undefined;) {
    nodes.push(node);
    let child = node.lastChild;
    for (; child !== undefined; child = child.previous) remaining.push(child);
  }
  return nodes.reverse();
}
