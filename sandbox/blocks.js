// Where text stands on a page: run in the page by sandbox/browser.py, where the page's own scripts are off.
// Everything is read through prototypes, since a page can name its forms and fields like properties of document.
(most) => {
  const get = (prototype, name) => {
    const read = Object.getOwnPropertyDescriptor(prototype, name).get;
    return (object) => read.call(object);
  };
  const call = (prototype, name) => (object, ...given) => prototype[name].call(object, ...given);
  const rootOf = get(Document.prototype, "documentElement"), bodyOf = get(Document.prototype, "body");
  const heightOf = get(Element.prototype, "scrollHeight"), parentOf = get(Node.prototype, "parentElement");
  const tagOf = get(Element.prototype, "tagName"), rectOf = call(Element.prototype, "getBoundingClientRect");
  const valueOf = { INPUT: get(HTMLInputElement.prototype, "value"), TEXTAREA: get(HTMLTextAreaElement.prototype, "value") };
  const hintOf = {
    INPUT: get(HTMLInputElement.prototype, "placeholder"),
    TEXTAREA: get(HTMLTextAreaElement.prototype, "placeholder"),
  };
  const makeRange = call(Document.prototype, "createRange"), makeWalker = call(Document.prototype, "createTreeWalker");

  // As Playwright's own screenshots do: what moves is brought to its end, or, without one, to its beginning.
  for (const animation of call(Document.prototype, "getAnimations")(document)) {
    try { animation.finish(); } catch { animation.cancel(); }
  }

  const opacities = new Map();
  const opacity = (element) => {
    if (!element) return 1;
    if (!opacities.has(element)) {
      opacities.set(element, parseFloat(getComputedStyle(element).opacity) * opacity(parentOf(element)));
    }
    return opacities.get(element);
  };
  const blocks = [];
  const add = (text, rects, element) => {
    const boxes = [...rects].filter((r) => r.width > 0 && r.height > 0);
    if (!boxes.length || opacity(element) < 0.1) return;
    const left = Math.min(...boxes.map((r) => r.left)), right = Math.max(...boxes.map((r) => r.right));
    const top = Math.min(...boxes.map((r) => r.top)), bottom = Math.max(...boxes.map((r) => r.bottom));
    blocks.push({
      text: text.slice(0, 2000),
      left: left + scrollX,
      top: top + scrollY,
      width: right - left,
      height: bottom - top,
      colour: getComputedStyle(element).webkitTextFillColor,
      line: Math.min(...boxes.map((r) => r.height)),
    });
  };
  const root = bodyOf(document) || rootOf(document);
  const walker = makeWalker(document, root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.currentNode; node && blocks.length < most; node = walker.nextNode()) {
    if (node instanceof Text) {
      const text = node.data.replace(/\s+/g, " ").trim(), parent = parentOf(node);
      if (!text || !parent || ["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "TITLE"].includes(tagOf(parent))) continue;
      const range = makeRange(document);
      range.selectNodeContents(node);
      add(text, range.getClientRects(), parent);
    } else if (node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement) {
      const text = (valueOf[tagOf(node)](node) || hintOf[tagOf(node)](node) || "").trim();
      const kind = call(Element.prototype, "getAttribute")(node, "type") || "text";
      if (text && !["hidden", "checkbox", "radio", "color", "range", "file"].includes(kind.toLowerCase())) {
        add(text, [rectOf(node)], node);
      }
    }
  }
  return JSON.stringify({ height: Math.max(heightOf(rootOf(document)), heightOf(root)), blocks: blocks });
};
