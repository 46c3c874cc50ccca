// Brings a page to rest, and tells where text stands on it: run in the page by sandbox/browser.py, where the page's own scripts are off.
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

  // The picture is of the page at rest: no cursor blinks, and what moves is at its end or, without one, at its beginning.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("*:not(#a#a#a#a){caret-color:transparent!important}"  // of more weight than a page's own
    + "video::-webkit-media-controls,audio::-webkit-media-controls{display:none!important}");  // they turn and fade
  Object.getOwnPropertyDescriptor(Document.prototype, "adoptedStyleSheets").set.call(document, [sheet]);
  for (const animation of call(Document.prototype, "getAnimations")(document)) {
    try { animation.finish(); } catch { animation.cancel(); }
  }
  const all = call(Document.prototype, "querySelectorAll");
  for (const drawing of all(document, "svg")) {
    if (drawing instanceof SVGSVGElement) {
      call(SVGSVGElement.prototype, "pauseAnimations")(drawing);
      call(SVGSVGElement.prototype, "setCurrentTime")(drawing, 0);
    }
  }

  const opacities = new Map();
  const opacity = (element) => {
    if (!element) return 1;
    if (!opacities.has(element)) {
      opacities.set(element, parseFloat(getComputedStyle(element).opacity) * opacity(parentOf(element)));
    }
    return opacities.get(element);
  };
  // Text as it is shown: in capitals, if the style says so.
  const shown = (text, style) =>
    style.textTransform === "uppercase" ? text.toUpperCase()
    : style.textTransform === "lowercase" ? text.toLowerCase()
    : style.textTransform === "capitalize" ? text.replace(/(^|[\s([{"'-])(\p{L})/gu, (_, before, letter) => before + letter.toUpperCase())
    : text;
  // Where the ground of an element is cut to its letters, these are seen though they are transparent.
  const cut = new Set();
  const cutBy = (element) => {
    for (let at = element; at; at = parentOf(at)) {
      const style = getComputedStyle(at);
      if (style.backgroundClip === "text") return at;
      if (style.display !== "inline") return null;
    }
    return null;
  };
  const containerOf = (element) => {
    let at = element;
    while (at && /^(inline|contents)$/.test(getComputedStyle(at).display)) at = parentOf(at);
    return at;
  };
  const blocks = [];
  let before = null;  // the piece of text before, which this one may go on
  const add = (text, rects, element, field, style = getComputedStyle(element), ownOpacity = 1) => {
    const boxes = [...rects].filter((r) => r.width > 0 && r.height > 0);
    if (!boxes.length || opacity(element) < 0.1) return;
    const left = Math.min(...boxes.map((r) => r.left)), right = Math.max(...boxes.map((r) => r.right));
    const top = Math.min(...boxes.map((r) => r.top)), bottom = Math.max(...boxes.map((r) => r.bottom));
    const cutter = field ? null : cutBy(element);
    if (cutter) cut.add(cutter);
    const colour = cutter ? "" : element instanceof SVGElement ? style.fill : style.webkitTextFillColor;
    const line = Math.min(...boxes.map((r) => r.height)), first = boxes[0], container = field ? element : containerOf(element);
    const block = { text, left: left + scrollX, top: top + scrollY, width: right - left, height: bottom - top, colour, line, field,
                    opacity: opacity(element) * ownOpacity };
    // One line may be made of several nodes: a word in a span, a letter. It is one piece if nobody could see where they meet.
    const end = before && before.end;
    const meets = end && (Math.abs(first.top - end.top) < line / 2
      ? first.left - end.right < 0.6 * line && first.left - end.right > -1
      : first.top >= end.bottom - 2 && first.top - end.bottom < line && first.left <= end.left + 1);
    if (meets && before.container === container && before.block.colour === colour && Math.abs(before.block.line - line) < 1) {
      const whole = before.block, gap = /\s$/.test(whole.text) || /^\s/.test(text) ? " " : "";
      whole.text = whole.text.trimEnd() + gap + text.trimStart();
      const farRight = Math.max(whole.left + whole.width, block.left + block.width);
      const farBottom = Math.max(whole.top + whole.height, block.top + block.height);
      whole.left = Math.min(whole.left, block.left);
      whole.top = Math.min(whole.top, block.top);
      whole.width = farRight - whole.left;
      whole.height = farBottom - whole.top;
    } else {
      blocks.push(block);
      before = { block, container };
    }
    before.end = boxes[boxes.length - 1];
  };
  const root = bodyOf(document) || rootOf(document);
  const walker = makeWalker(document, root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.currentNode; node && blocks.length < most; node = walker.nextNode()) {
    if (node instanceof Text) {
      const parent = parentOf(node);
      const text = parent ? shown(node.data, getComputedStyle(parent)).replace(/\s+/g, " ") : "";
      if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "TITLE"].includes(tagOf(parent))) continue;
      if (!text.trim()) {
        if (before) before.block.text += " ";
        continue;
      }
      const range = makeRange(document);
      range.selectNodeContents(node);
      add(text, range.getClientRects(), parent, false);
    } else if (tagOf(node) === "BR") {
      before = null;
    } else if (node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement) {
      const value = valueOf[tagOf(node)](node), text = (value || hintOf[tagOf(node)](node) || "").trim();
      const kind = call(Element.prototype, "getAttribute")(node, "type") || "text";
      if (text && !["hidden", "checkbox", "radio", "color", "range", "file"].includes(kind.toLowerCase())) {
        const style = getComputedStyle(node, value ? "" : "::placeholder");
        add(text, [rectOf(node)], node, true, style, value ? 1 : parseFloat(style.opacity));
        before = null;
      }
    }
  }
  globalThis[Symbol.for("cut")] = cut;  // for the second picture, from which they are taken
  for (const block of blocks) block.text = block.text.trim().slice(0, 2000);
  return JSON.stringify({ height: Math.max(heightOf(rootOf(document)), heightOf(root)), blocks: blocks });
};
