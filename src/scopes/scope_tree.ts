/**
 * A node of a tree whose nodes come and go.
 *
 * The children of one parent are a linked list, as a set would cost as much as all the
 * rest of a scope. Its fields are public, as the nodes may be of different copies of
 * this module.
 */
export interface TreeNode<T extends TreeNode<T>> {
  readonly parent: (T & ParentNode<T>) | undefined;
  /** The sibling that started before it. */
  previous: T | undefined;
  /** The sibling that started after it. */
  next: T | undefined;
  /** The latest of its children. */
  readonly lastChild: T | undefined;
}

/** A node that has children. */
export interface ParentNode<T> {
  lastChild: T | undefined;
}

/** Adds a node to its parent, whose latest child until now is its `previous`. */
export function link<T extends TreeNode<T>>(
  node: T,
  parent: ParentNode<T>,
): void {
  if (node.previous !== undefined) node.previous.next = node;
  parent.lastChild = node;
}

/** Removes a node from its parent, and keeps no reference to any other node. */
export function unlink<T extends TreeNode<T>>(
  node: T,
  parent: ParentNode<T>,
): void {
  const { previous, next } = node;
  // Most nodes have no siblings, and each write that is saved can be measured.
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

/** Hands the children of a node that leaves the tree over to its parent, if any. */
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
 * Returns a node and all nodes below it, the innermost first, and of siblings the
 * latest first.
 *
 * It is a loop, as agents can nest deeper than the stack could follow.
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
