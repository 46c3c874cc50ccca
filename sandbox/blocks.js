// Where text stands on a page: run in the page by sandbox/browser.py, where the page's own scripts are off.
(most) => {
  const blocks = [];
  const add = (text, rects, element) => {
    const boxes = [...rects].filter((r) => r.width > 0 && r.height > 0);
    if (!boxes.length) return;
    const left = Math.min(...boxes.map((r) => r.left)), right = Math.max(...boxes.map((r) => r.right));
    const top = Math.min(...boxes.map((r) => r.top)), bottom = Math.max(...boxes.map((r) => r.bottom));
    const style = getComputedStyle(element);
    blocks.push({
      text: text.slice(0, 2000),
      left: left + scrollX,
      top: top + scrollY,
      width: right - left,
      height: bottom - top,
      colour: style.color,
      size: parseFloat(style.fontSize) || 0,
    });
  };
  const root = document.body || document.documentElement;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.currentNode; node && blocks.length < most; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = node.data.replace(/\s+/g, " ").trim();
      if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "TITLE"].includes(node.parentElement.tagName)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      add(text, range.getClientRects(), node.parentElement);
    } else if (node.tagName === "INPUT" || node.tagName === "TEXTAREA") {
      const text = (node.value || node.placeholder || "").trim();
      if (text && !["hidden", "checkbox", "radio", "color", "range", "file"].includes(node.type)) {
        add(text, [node.getBoundingClientRect()], node);
      }
    }
  }
  return JSON.stringify({
    height: Math.max(document.documentElement.scrollHeight, root.scrollHeight),
    blocks: blocks,
  });
};
