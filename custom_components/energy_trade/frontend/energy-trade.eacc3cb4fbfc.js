var j=globalThis,B=j.ShadowRoot&&(j.ShadyCSS===void 0||j.ShadyCSS.nativeShadow)&&"adoptedStyleSheets"in Document.prototype&&"replace"in CSSStyleSheet.prototype,ee=Symbol(),fe=new WeakMap,R=class{constructor(e,t,r){if(this._$cssResult$=!0,r!==ee)throw Error("CSSResult is not constructable. Use `unsafeCSS` or `css` instead.");this.cssText=e,this.t=t}get styleSheet(){let e=this.o,t=this.t;if(B&&e===void 0){let r=t!==void 0&&t.length===1;r&&(e=fe.get(t)),e===void 0&&((this.o=e=new CSSStyleSheet).replaceSync(this.cssText),r&&fe.set(t,e))}return e}toString(){return this.cssText}},ye=i=>new R(typeof i=="string"?i:i+"",void 0,ee),f=(i,...e)=>{let t=i.length===1?i[0]:e.reduce((r,s,n)=>r+(o=>{if(o._$cssResult$===!0)return o.cssText;if(typeof o=="number")return o;throw Error("Value passed to 'css' function must be a 'css' function result: "+o+". Use 'unsafeCSS' to pass non-literal values, but take care to ensure page security.")})(s)+i[n+1],i[0]);return new R(t,i,ee)},_e=(i,e)=>{if(B)i.adoptedStyleSheets=e.map(t=>t instanceof CSSStyleSheet?t:t.styleSheet);else for(let t of e){let r=document.createElement("style"),s=j.litNonce;s!==void 0&&r.setAttribute("nonce",s),r.textContent=t.cssText,i.appendChild(r)}},te=B?i=>i:i=>i instanceof CSSStyleSheet?(e=>{let t="";for(let r of e.cssRules)t+=r.cssText;return ye(t)})(i):i;var{is:Qe,defineProperty:et,getOwnPropertyDescriptor:tt,getOwnPropertyNames:rt,getOwnPropertySymbols:st,getPrototypeOf:nt}=Object,q=globalThis,be=q.trustedTypes,it=be?be.emptyScript:"",ot=q.reactiveElementPolyfillSupport,H=(i,e)=>i,re={toAttribute(i,e){switch(e){case Boolean:i=i?it:null;break;case Object:case Array:i=i==null?i:JSON.stringify(i)}return i},fromAttribute(i,e){let t=i;switch(e){case Boolean:t=i!==null;break;case Number:t=i===null?null:Number(i);break;case Object:case Array:try{t=JSON.parse(i)}catch{t=null}}return t}},$e=(i,e)=>!Qe(i,e),ve={attribute:!0,type:String,converter:re,reflect:!1,useDefault:!1,hasChanged:$e};Symbol.metadata??=Symbol("metadata"),q.litPropertyMetadata??=new WeakMap;var y=class extends HTMLElement{static addInitializer(e){this._$Ei(),(this.l??=[]).push(e)}static get observedAttributes(){return this.finalize(),this._$Eh&&[...this._$Eh.keys()]}static createProperty(e,t=ve){if(t.state&&(t.attribute=!1),this._$Ei(),this.prototype.hasOwnProperty(e)&&((t=Object.create(t)).wrapped=!0),this.elementProperties.set(e,t),!t.noAccessor){let r=Symbol(),s=this.getPropertyDescriptor(e,r,t);s!==void 0&&et(this.prototype,e,s)}}static getPropertyDescriptor(e,t,r){let{get:s,set:n}=tt(this.prototype,e)??{get(){return this[t]},set(o){this[t]=o}};return{get:s,set(o){let a=s?.call(this);n?.call(this,o),this.requestUpdate(e,a,r)},configurable:!0,enumerable:!0}}static getPropertyOptions(e){return this.elementProperties.get(e)??ve}static _$Ei(){if(this.hasOwnProperty(H("elementProperties")))return;let e=nt(this);e.finalize(),e.l!==void 0&&(this.l=[...e.l]),this.elementProperties=new Map(e.elementProperties)}static finalize(){if(this.hasOwnProperty(H("finalized")))return;if(this.finalized=!0,this._$Ei(),this.hasOwnProperty(H("properties"))){let t=this.properties,r=[...rt(t),...st(t)];for(let s of r)this.createProperty(s,t[s])}let e=this[Symbol.metadata];if(e!==null){let t=litPropertyMetadata.get(e);if(t!==void 0)for(let[r,s]of t)this.elementProperties.set(r,s)}this._$Eh=new Map;for(let[t,r]of this.elementProperties){let s=this._$Eu(t,r);s!==void 0&&this._$Eh.set(s,t)}this.elementStyles=this.finalizeStyles(this.styles)}static finalizeStyles(e){let t=[];if(Array.isArray(e)){let r=new Set(e.flat(1/0).reverse());for(let s of r)t.unshift(te(s))}else e!==void 0&&t.push(te(e));return t}static _$Eu(e,t){let r=t.attribute;return r===!1?void 0:typeof r=="string"?r:typeof e=="string"?e.toLowerCase():void 0}constructor(){super(),this._$Ep=void 0,this.isUpdatePending=!1,this.hasUpdated=!1,this._$Em=null,this._$Ev()}_$Ev(){this._$ES=new Promise(e=>this.enableUpdating=e),this._$AL=new Map,this._$E_(),this.requestUpdate(),this.constructor.l?.forEach(e=>e(this))}addController(e){(this._$EO??=new Set).add(e),this.renderRoot!==void 0&&this.isConnected&&e.hostConnected?.()}removeController(e){this._$EO?.delete(e)}_$E_(){let e=new Map,t=this.constructor.elementProperties;for(let r of t.keys())this.hasOwnProperty(r)&&(e.set(r,this[r]),delete this[r]);e.size>0&&(this._$Ep=e)}createRenderRoot(){let e=this.shadowRoot??this.attachShadow(this.constructor.shadowRootOptions);return _e(e,this.constructor.elementStyles),e}connectedCallback(){this.renderRoot??=this.createRenderRoot(),this.enableUpdating(!0),this._$EO?.forEach(e=>e.hostConnected?.())}enableUpdating(e){}disconnectedCallback(){this._$EO?.forEach(e=>e.hostDisconnected?.())}attributeChangedCallback(e,t,r){this._$AK(e,r)}_$ET(e,t){let r=this.constructor.elementProperties.get(e),s=this.constructor._$Eu(e,r);if(s!==void 0&&r.reflect===!0){let n=(r.converter?.toAttribute!==void 0?r.converter:re).toAttribute(t,r.type);this._$Em=e,n==null?this.removeAttribute(s):this.setAttribute(s,n),this._$Em=null}}_$AK(e,t){let r=this.constructor,s=r._$Eh.get(e);if(s!==void 0&&this._$Em!==s){let n=r.getPropertyOptions(s),o=typeof n.converter=="function"?{fromAttribute:n.converter}:n.converter?.fromAttribute!==void 0?n.converter:re;this._$Em=s;let a=o.fromAttribute(t,n.type);this[s]=a??this._$Ej?.get(s)??a,this._$Em=null}}requestUpdate(e,t,r,s=!1,n){if(e!==void 0){let o=this.constructor;if(s===!1&&(n=this[e]),r??=o.getPropertyOptions(e),!((r.hasChanged??$e)(n,t)||r.useDefault&&r.reflect&&n===this._$Ej?.get(e)&&!this.hasAttribute(o._$Eu(e,r))))return;this.C(e,t,r)}this.isUpdatePending===!1&&(this._$ES=this._$EP())}C(e,t,{useDefault:r,reflect:s,wrapped:n},o){r&&!(this._$Ej??=new Map).has(e)&&(this._$Ej.set(e,o??t??this[e]),n!==!0||o!==void 0)||(this._$AL.has(e)||(this.hasUpdated||r||(t=void 0),this._$AL.set(e,t)),s===!0&&this._$Em!==e&&(this._$Eq??=new Set).add(e))}async _$EP(){this.isUpdatePending=!0;try{await this._$ES}catch(t){Promise.reject(t)}let e=this.scheduleUpdate();return e!=null&&await e,!this.isUpdatePending}scheduleUpdate(){return this.performUpdate()}performUpdate(){if(!this.isUpdatePending)return;if(!this.hasUpdated){if(this.renderRoot??=this.createRenderRoot(),this._$Ep){for(let[s,n]of this._$Ep)this[s]=n;this._$Ep=void 0}let r=this.constructor.elementProperties;if(r.size>0)for(let[s,n]of r){let{wrapped:o}=n,a=this[s];o!==!0||this._$AL.has(s)||a===void 0||this.C(s,void 0,n,a)}}let e=!1,t=this._$AL;try{e=this.shouldUpdate(t),e?(this.willUpdate(t),this._$EO?.forEach(r=>r.hostUpdate?.()),this.update(t)):this._$EM()}catch(r){throw e=!1,this._$EM(),r}e&&this._$AE(t)}willUpdate(e){}_$AE(e){this._$EO?.forEach(t=>t.hostUpdated?.()),this.hasUpdated||(this.hasUpdated=!0,this.firstUpdated(e)),this.updated(e)}_$EM(){this._$AL=new Map,this.isUpdatePending=!1}get updateComplete(){return this.getUpdateComplete()}getUpdateComplete(){return this._$ES}shouldUpdate(e){return!0}update(e){this._$Eq&&=this._$Eq.forEach(t=>this._$ET(t,this[t])),this._$EM()}updated(e){}firstUpdated(e){}};y.elementStyles=[],y.shadowRootOptions={mode:"open"},y[H("elementProperties")]=new Map,y[H("finalized")]=new Map,ot?.({ReactiveElement:y}),(q.reactiveElementVersions??=[]).push("2.1.2");var de=globalThis,we=i=>i,G=de.trustedTypes,xe=G?G.createPolicy("lit-html",{createHTML:i=>i}):void 0,Ce="$lit$",_=`lit$${Math.random().toFixed(9).slice(2)}$`,Me="?"+_,at=`<${Me}>`,A=document,N=()=>A.createComment(""),O=i=>i===null||typeof i!="object"&&typeof i!="function",ce=Array.isArray,lt=i=>ce(i)||typeof i?.[Symbol.iterator]=="function",se=`[ 	
\f\r]`,P=/<(?:(!--|\/[^a-zA-Z])|(\/?[a-zA-Z][^>\s]*)|(\/?$))/g,Se=/-->/g,ke=/>/g,S=RegExp(`>|${se}(?:([^\\s"'>=/]+)(${se}*=${se}*(?:[^ 	
\f\r"'\`<>=]|("|')|))|$)`,"g"),Ae=/'/g,Ee=/"/g,Re=/^(?:script|style|textarea|title)$/i,he=i=>(e,...t)=>({_$litType$:i,strings:e,values:t}),d=he(1),W=he(2),Ht=he(3),E=Symbol.for("lit-noChange"),c=Symbol.for("lit-nothing"),Te=new WeakMap,k=A.createTreeWalker(A,129);function He(i,e){if(!ce(i)||!i.hasOwnProperty("raw"))throw Error("invalid template strings array");return xe!==void 0?xe.createHTML(e):e}var dt=(i,e)=>{let t=i.length-1,r=[],s,n=e===2?"<svg>":e===3?"<math>":"",o=P;for(let a=0;a<t;a++){let l=i[a],p,u,h=-1,m=0;for(;m<l.length&&(o.lastIndex=m,u=o.exec(l),u!==null);)m=o.lastIndex,o===P?u[1]==="!--"?o=Se:u[1]!==void 0?o=ke:u[2]!==void 0?(Re.test(u[2])&&(s=RegExp("</"+u[2],"g")),o=S):u[3]!==void 0&&(o=S):o===S?u[0]===">"?(o=s??P,h=-1):u[1]===void 0?h=-2:(h=o.lastIndex-u[2].length,p=u[1],o=u[3]===void 0?S:u[3]==='"'?Ee:Ae):o===Ee||o===Ae?o=S:o===Se||o===ke?o=P:(o=S,s=void 0);let g=o===S&&i[a+1].startsWith("/>")?" ":"";n+=o===P?l+at:h>=0?(r.push(p),l.slice(0,h)+Ce+l.slice(h)+_+g):l+_+(h===-2?a:g)}return[He(i,n+(i[t]||"<?>")+(e===2?"</svg>":e===3?"</math>":"")),r]},I=class i{constructor({strings:e,_$litType$:t},r){let s;this.parts=[];let n=0,o=0,a=e.length-1,l=this.parts,[p,u]=dt(e,t);if(this.el=i.createElement(p,r),k.currentNode=this.el.content,t===2||t===3){let h=this.el.content.firstChild;h.replaceWith(...h.childNodes)}for(;(s=k.nextNode())!==null&&l.length<a;){if(s.nodeType===1){if(s.hasAttributes())for(let h of s.getAttributeNames())if(h.endsWith(Ce)){let m=u[o++],g=s.getAttribute(h).split(_),x=/([.?@])?(.*)/.exec(m);l.push({type:1,index:n,name:x[2],strings:g,ctor:x[1]==="."?ie:x[1]==="?"?oe:x[1]==="@"?ae:C}),s.removeAttribute(h)}else h.startsWith(_)&&(l.push({type:6,index:n}),s.removeAttribute(h));if(Re.test(s.tagName)){let h=s.textContent.split(_),m=h.length-1;if(m>0){s.textContent=G?G.emptyScript:"";for(let g=0;g<m;g++)s.append(h[g],N()),k.nextNode(),l.push({type:2,index:++n});s.append(h[m],N())}}}else if(s.nodeType===8)if(s.data===Me)l.push({type:2,index:n});else{let h=-1;for(;(h=s.data.indexOf(_,h+1))!==-1;)l.push({type:7,index:n}),h+=_.length-1}n++}}static createElement(e,t){let r=A.createElement("template");return r.innerHTML=e,r}};function T(i,e,t=i,r){if(e===E)return e;let s=r!==void 0?t._$Co?.[r]:t._$Cl,n=O(e)?void 0:e._$litDirective$;return s?.constructor!==n&&(s?._$AO?.(!1),n===void 0?s=void 0:(s=new n(i),s._$AT(i,t,r)),r!==void 0?(t._$Co??=[])[r]=s:t._$Cl=s),s!==void 0&&(e=T(i,s._$AS(i,e.values),s,r)),e}var ne=class{constructor(e,t){this._$AV=[],this._$AN=void 0,this._$AD=e,this._$AM=t}get parentNode(){return this._$AM.parentNode}get _$AU(){return this._$AM._$AU}u(e){let{el:{content:t},parts:r}=this._$AD,s=(e?.creationScope??A).importNode(t,!0);k.currentNode=s;let n=k.nextNode(),o=0,a=0,l=r[0];for(;l!==void 0;){if(o===l.index){let p;l.type===2?p=new z(n,n.nextSibling,this,e):l.type===1?p=new l.ctor(n,l.name,l.strings,this,e):l.type===6&&(p=new le(n,this,e)),this._$AV.push(p),l=r[++a]}o!==l?.index&&(n=k.nextNode(),o++)}return k.currentNode=A,s}p(e){let t=0;for(let r of this._$AV)r!==void 0&&(r.strings!==void 0?(r._$AI(e,r,t),t+=r.strings.length-2):r._$AI(e[t])),t++}},z=class i{get _$AU(){return this._$AM?._$AU??this._$Cv}constructor(e,t,r,s){this.type=2,this._$AH=c,this._$AN=void 0,this._$AA=e,this._$AB=t,this._$AM=r,this.options=s,this._$Cv=s?.isConnected??!0}get parentNode(){let e=this._$AA.parentNode,t=this._$AM;return t!==void 0&&e?.nodeType===11&&(e=t.parentNode),e}get startNode(){return this._$AA}get endNode(){return this._$AB}_$AI(e,t=this){e=T(this,e,t),O(e)?e===c||e==null||e===""?(this._$AH!==c&&this._$AR(),this._$AH=c):e!==this._$AH&&e!==E&&this._(e):e._$litType$!==void 0?this.$(e):e.nodeType!==void 0?this.T(e):lt(e)?this.k(e):this._(e)}O(e){return this._$AA.parentNode.insertBefore(e,this._$AB)}T(e){this._$AH!==e&&(this._$AR(),this._$AH=this.O(e))}_(e){this._$AH!==c&&O(this._$AH)?this._$AA.nextSibling.data=e:this.T(A.createTextNode(e)),this._$AH=e}$(e){let{values:t,_$litType$:r}=e,s=typeof r=="number"?this._$AC(e):(r.el===void 0&&(r.el=I.createElement(He(r.h,r.h[0]),this.options)),r);if(this._$AH?._$AD===s)this._$AH.p(t);else{let n=new ne(s,this),o=n.u(this.options);n.p(t),this.T(o),this._$AH=n}}_$AC(e){let t=Te.get(e.strings);return t===void 0&&Te.set(e.strings,t=new I(e)),t}k(e){ce(this._$AH)||(this._$AH=[],this._$AR());let t=this._$AH,r,s=0;for(let n of e)s===t.length?t.push(r=new i(this.O(N()),this.O(N()),this,this.options)):r=t[s],r._$AI(n),s++;s<t.length&&(this._$AR(r&&r._$AB.nextSibling,s),t.length=s)}_$AR(e=this._$AA.nextSibling,t){for(this._$AP?.(!1,!0,t);e!==this._$AB;){let r=we(e).nextSibling;we(e).remove(),e=r}}setConnected(e){this._$AM===void 0&&(this._$Cv=e,this._$AP?.(e))}},C=class{get tagName(){return this.element.tagName}get _$AU(){return this._$AM._$AU}constructor(e,t,r,s,n){this.type=1,this._$AH=c,this._$AN=void 0,this.element=e,this.name=t,this._$AM=s,this.options=n,r.length>2||r[0]!==""||r[1]!==""?(this._$AH=Array(r.length-1).fill(new String),this.strings=r):this._$AH=c}_$AI(e,t=this,r,s){let n=this.strings,o=!1;if(n===void 0)e=T(this,e,t,0),o=!O(e)||e!==this._$AH&&e!==E,o&&(this._$AH=e);else{let a=e,l,p;for(e=n[0],l=0;l<n.length-1;l++)p=T(this,a[r+l],t,l),p===E&&(p=this._$AH[l]),o||=!O(p)||p!==this._$AH[l],p===c?e=c:e!==c&&(e+=(p??"")+n[l+1]),this._$AH[l]=p}o&&!s&&this.j(e)}j(e){e===c?this.element.removeAttribute(this.name):this.element.setAttribute(this.name,e??"")}},ie=class extends C{constructor(){super(...arguments),this.type=3}j(e){this.element[this.name]=e===c?void 0:e}},oe=class extends C{constructor(){super(...arguments),this.type=4}j(e){this.element.toggleAttribute(this.name,!!e&&e!==c)}},ae=class extends C{constructor(e,t,r,s,n){super(e,t,r,s,n),this.type=5}_$AI(e,t=this){if((e=T(this,e,t,0)??c)===E)return;let r=this._$AH,s=e===c&&r!==c||e.capture!==r.capture||e.once!==r.once||e.passive!==r.passive,n=e!==c&&(r===c||s);s&&this.element.removeEventListener(this.name,this,r),n&&this.element.addEventListener(this.name,this,e),this._$AH=e}handleEvent(e){typeof this._$AH=="function"?this._$AH.call(this.options?.host??this.element,e):this._$AH.handleEvent(e)}},le=class{constructor(e,t,r){this.element=e,this.type=6,this._$AN=void 0,this._$AM=t,this.options=r}get _$AU(){return this._$AM._$AU}_$AI(e){T(this,e)}};var ct=de.litHtmlPolyfillSupport;ct?.(I,z),(de.litHtmlVersions??=[]).push("3.3.3");var Pe=(i,e,t)=>{let r=t?.renderBefore??e,s=r._$litPart$;if(s===void 0){let n=t?.renderBefore??null;r._$litPart$=s=new z(e.insertBefore(N(),n),n,void 0,t??{})}return s._$AI(i),s};var pe=globalThis,b=class extends y{constructor(){super(...arguments),this.renderOptions={host:this},this._$Do=void 0}createRenderRoot(){let e=super.createRenderRoot();return this.renderOptions.renderBefore??=e.firstChild,e}update(e){let t=this.render();this.hasUpdated||(this.renderOptions.isConnected=this.isConnected),super.update(e),this._$Do=Pe(t,this.renderRoot,this.renderOptions)}connectedCallback(){super.connectedCallback(),this._$Do?.setConnected(!0)}disconnectedCallback(){super.disconnectedCallback(),this._$Do?.setConnected(!1)}render(){return E}};b._$litElement$=!0,b.finalized=!0,pe.litElementHydrateSupport?.({LitElement:b});var ht=pe.litElementPolyfillSupport;ht?.({LitElement:b});(pe.litElementVersions??=[]).push("4.2.2");var pt={comma_decimal:["en-US"],decimal_comma:["de"],space_comma:["fr"],quote_decimal:["de-CH"]},K=class{numbers;grouping;times;currency;constructor(e,t){let{language:r,number_format:s,time_format:n,time_zone:o}=e.locale;this.numbers=s==="system"?void 0:pt[s]??[r],this.grouping=s!=="none",this.currency=t,this.times=new Intl.DateTimeFormat(n==="system"?void 0:r,{hour:"2-digit",minute:"2-digit",...n==="12"?{hour12:!0}:n==="24"?{hourCycle:"h23"}:{},...o==="server"?{timeZone:e.config.time_zone}:{}})}number(e,t,r=t){return new Intl.NumberFormat(this.numbers,{minimumFractionDigits:t,maximumFractionDigits:r,useGrouping:this.grouping}).format(e)}money(e,t=e!==0&&Math.abs(e)<1e6?3:2){let r=e/1e6;try{return new Intl.NumberFormat(this.numbers,{style:"currency",currency:this.currency,minimumFractionDigits:t,maximumFractionDigits:t,useGrouping:this.grouping}).format(r)}catch{return`${this.number(r,t)} ${this.currency}`}}price(e){return`${this.money(e,3)}/kWh`}energy(e){return Math.abs(e)<1e3?`${this.number(e,0)} Wh`:`${this.number(e/1e3,2)} kWh`}percent(e,t){return`${this.number(100*e/t,0)} %`}time(e){return this.times.format(e*1e3)}span(e,t){return`${this.time(e)}–${this.time(t)}`}};function Ne(i){let e=Math.max(0,Math.ceil(i));return`${Math.floor(e/60)} min ${String(e%60).padStart(2,"0")} s`}var ue=class{listeners=new Set;connection;message;latest=null;unsubscribe=null;timer;run=0;constructor(e,t){this.connection=e,this.message={type:"energy_trade/subscribe",...t===void 0?{}:{entry_id:t}}}listen(e){return this.listeners.add(e),this.latest&&e(this.latest),this.listeners.size===1&&this.begin(),()=>{this.listeners.delete(e),this.listeners.size===0&&this.end()}}async begin(){let e=++this.run;try{let t=await this.connection.subscribeMessage(r=>this.hear(r),this.message);e===this.run?this.unsubscribe=t:await t()}catch{if(e!==this.run)return;for(let t of this.listeners)t(null);this.timer=setTimeout(()=>{this.begin()},1e4)}}end(){this.run++,clearTimeout(this.timer),this.unsubscribe?.().catch(()=>{}),this.unsubscribe=null,this.latest=null}hear(e){this.latest={snapshot:e,offset_s:e.at-Date.now()/1e3};for(let t of this.listeners)t(this.latest)}},Oe=new WeakMap;function Ie(i,e){let t=Oe.get(i.connection)??new Map;Oe.set(i.connection,t);let r=e??"",s=t.get(r)??new ue(i.connection,e);return t.set(r,s),s}var v=f`
  :host {
    display: block;
    --trade-sell: var(--energy-grid-return-color, #8353d1);
    --trade-buy: var(--energy-grid-consumption-color, #488fc2);
    --trade-alarm: var(--error-color, #db4437);
    --trade-warn: var(--warning-color, #ffa600);
    --trade-line: var(--divider-color, #e0e0e0);
    --trade-soft: var(--secondary-background-color, #f5f5f5);
    --gap-1: var(--ha-space-1, 4px);
    --gap-2: var(--ha-space-2, 8px);
    --gap-4: var(--ha-space-4, 16px);
    --round: var(--ha-border-radius-md, 8px);
  }
  ha-card {
    display: flex;
    flex-direction: column;
    gap: var(--gap-4);
    padding: var(--gap-4);
    height: 100%;
    box-sizing: border-box;
    container-type: inline-size;
    font-variant-numeric: tabular-nums;
    color: var(--primary-text-color);
  }
  .head {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: var(--gap-1) var(--gap-4);
  }
  h2,
  h3,
  p,
  dl,
  dd,
  ul {
    margin: 0;
    padding: 0;
  }
  h2 {
    font-size: var(--ha-font-size-l, 16px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  h3 {
    font-size: var(--ha-font-size-s, 12px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .quiet,
  dt {
    font-size: var(--ha-font-size-s, 12px);
  }
  .age::before,
  .mark::before {
    content: "";
    display: inline-block;
    width: 8px;
    height: 8px;
    margin-inline-end: 6px;
    border-radius: 50%;
    background: var(--accent, var(--trade-line));
  }
  .age[data-state="live"] {
    --accent: var(--success-color, #43a047);
  }
  .age[data-state="polling"] {
    --accent: var(--trade-warn);
  }
  .age[data-state="old"] {
    --accent: var(--trade-alarm);
  }
  .notice {
    padding: var(--gap-2) var(--gap-4);
    border-inline-start: 4px solid var(--trade-warn);
    border-radius: var(--round);
    background: var(--trade-soft);
  }
  .notice.alarm {
    border: 2px solid var(--trade-alarm);
    border-inline-start-width: 8px;
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .answer {
    font-size: var(--ha-font-size-xl, 20px);
    line-height: 1.3;
    text-wrap: balance;
  }
  .figures {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(88px, 1fr));
    gap: var(--gap-2) var(--gap-4);
  }
  .figures dd:not(.quiet) {
    font-size: var(--ha-font-size-l, 16px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .ends {
    display: flex;
    flex-wrap: wrap;
    justify-content: space-between;
    gap: 0 var(--gap-4);
    margin-top: var(--gap-1);
  }
  button {
    min-height: 44px;
    padding: 0 var(--gap-4);
    border: 1px solid var(--trade-line);
    border-radius: var(--round);
    background: var(--card-background-color, #fff);
    color: var(--primary-text-color);
    font: inherit;
    cursor: pointer;
  }
  button:hover:not(:disabled) {
    background: var(--trade-soft);
  }
  button:disabled {
    cursor: default;
  }
  :focus-visible {
    outline: 2px solid var(--primary-color, #009ac7);
    outline-offset: 2px;
  }
  summary {
    min-height: 44px;
    display: flex;
    align-items: center;
    gap: var(--gap-2);
    cursor: pointer;
  }
  summary::before {
    content: "▸";
  }
  details[open] > summary::before {
    content: "▾";
  }
  .scroll {
    max-height: 320px;
    overflow: auto;
  }
  table {
    width: 100%;
    border-collapse: collapse;
    font-size: var(--ha-font-size-s, 12px);
  }
  th,
  td {
    padding: var(--gap-1);
    border-bottom: 1px solid var(--trade-line);
    text-align: start;
  }
  td.number {
    text-align: end;
    white-space: nowrap;
  }
  a {
    color: var(--primary-text-color);
    text-underline-offset: 3px;
  }
  .hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  svg {
    display: block;
    width: 100%;
  }
  @media (prefers-reduced-motion: no-preference) {
    button {
      transition: background 120ms;
    }
  }
`;function ze(i,e,t){if(!t)return"disconnected";if(i===null)return"unavailable";if(i.status!=="running")return i.status;if(i.connection==="offline")return"offline";let r=i.market?.interval_s??900;return e-i.at>2*r?"stale":"none"}function D(i,e){let t=i.market?.interval_s??900;return e-e%t}function U(i,e){return i.intervals.find(t=>t.start===e)}function me(i,e){let{interval_s:t,gate_s:r}=i.market??{interval_s:900,gate_s:0},s=D(i,Math.floor(e)+r)+t;return{start:s,closes:s-r}}function We(i,e){let t=i.market?.interval_s??900,r=D(i,Math.floor(e))+t,s=me(i,e).start,n=new Map(i.intervals.map(o=>[o.start,o]));return Array.from({length:Math.min(96,Math.floor(86400/t))},(o,a)=>{let l=r+a*t;return{start:l,end:l+t,open:l>=s,row:n.get(l)}})}function M(i){let e=i.row?.plan??null;return e?.provisional&&i.row?.position_wh?null:e}function L(i){return!i.row?.held&&(M(i)?.provisional??!1)}function F(i){if(i.row?.held)return"held";let e=M(i);if(e?.side)return e.side;let t=i.row?.position_wh??0;return t<0?"sell":t>0?"buy":e?"none":"open"}function Y(i){return M(i)?.energy_wh??Math.abs(i.row?.position_wh??0)}function De(i,e){let t=i-e,r=[];return e>0&&r.push({key:"from_neighbours",wh:e}),t>0&&r.push({key:"from_supplier",wh:t}),e<0&&r.push({key:"to_neighbours",wh:-e}),t<0&&r.push({key:"to_supplier",wh:-t}),r}var Ue={trading:"Trading",trading_about:"Price, position, plan and savings of one home, and why",flow:"Community flow",flow_about:"Where this home's energy came from and went to, neighbours apart from the supplier",plan:"Trading plan",plan_about:"What the home will do in the coming intervals; tap one to take it out of the plan",strategy_about:"A dashboard of every home in a local energy market",config_entry:"Home",config_entry_help:"Which home to show; without a choice the first one.",config_title:"Title",config_title_help:"Instead of the card's own.",missing:"No home here has joined a local energy market yet.",add:"Add Energy Trade",unavailable:"Energy Trade does not answer. Is the integration running?",connecting:"Connecting …",disconnected:"No connection to Home Assistant. What you see is from before.",not_loaded:"The home {title} is not running.",not_loaded_because:"The home {title} is not running: {problem}",waiting:"The market has not answered since the start. Readings are kept and delivered later.",offline:"The market does not answer: its prices and your trades are from before. Readings are kept and delivered later.",stale:"No news since {time}. What you see is from then.",market_halted:"The market is halted: no orders are taken.",live:"Live",polling:"Asked once a minute",old:"Old",emergency:"Grid emergency since {time}.",island:"The community runs as an island since {time}.",strained:"The grid is strained since {time}.",event_reduce:"The grid asks for less until {time}.",event_increase:"The grid asks to use more until {time}.",price_now:"Market price now",price_none:"No trade yet in this interval",price_below:"{price}, {difference} less than your supplier takes",price_above:"{price}, {difference} more than your supplier takes",price_same:"{price}, as much as your supplier takes",feed_in:"Feed-in {price}",supplier:"Supplier {price}",this_interval:"This interval, {span}",next_interval:"Next interval, {span}",selling:"You sell {energy}",buying:"You buy {energy}",no_trade:"Nothing traded",forecast_surplus:"Expected surplus {energy}",forecast_need:"Expected need {energy}",forecast_balanced:"Expected to need nothing",forecast_none:"No forecast yet",between:"between {low} and {high}",plan_sell:"Offers {energy} at {price} or more",plan_buy:"Wants {energy} at {price} or less",plan_shadow:"would: shadow mode",plan_none:"No order",gate:"Orders for {span} close in {left}",why:"Why",instead:"Otherwise",saved:"Saved so far",earned:"Earned so far",paid:"Paid so far",saved_today:"Saved today",earned_today:"Earned today",paid_today:"Paid today",so_far:"{all} so far",shadow_gain:"Would have gained",shadow:"Shadow mode: nothing is placed",away:"On vacation",opted_out:"Devices stay in your hands",trade_switch:"Automatic trading",on:"on",off:"off",policy:"Policy",as_table:"As a table",what:"What",energy:"Energy",time:"Time",forecast:"Forecast",order:"Order",price:"Price",neighbours:"Neighbours",supplier_grid:"Supplier",home:"Your home",flow_none:"The first metered interval has not ended yet.",flow_took:"In the interval {span} your home took {net} from the grid: {market} bought from neighbours, {rest} from the supplier.",flow_gave:"In the interval {span} your home gave {net} to the grid: {market} sold to neighbours, {rest} to the supplier.",flow_even:"In the interval {span} your home took and gave nothing.",flow_oversold:"In the interval {span} your home sold {market} to neighbours; {rest} that it lacked came from the supplier.",flow_overbought:"In the interval {span} your home bought {market} from neighbours; {rest} that it did not need went to the supplier.",from_neighbours:"From neighbours to your home",from_supplier:"From the supplier to your home",to_neighbours:"From your home to neighbours",to_supplier:"From your home to the supplier",community_share:"All homes together traded {all} for this interval; {share} of it was yours.",community_other:"All homes together traded {all} for this interval; nothing of it was yours.",community_unknown:"What the community traded for this interval is not known yet.",totals:"Since you joined",bought:"Bought from neighbours",sold:"Sold to neighbours",plan_summary:"Next {count} intervals: sells {sold}, buys {bought} as planned so far; {held} held back.",plan_expected:"Expected after that: sells {sold}, buys {bought}.",plan_empty:"Nothing is planned yet.",expected:"expected",expected_legend:"Dashed: expected, not ordered yet",chart_label:"Forecast at the meter: surplus above, need below the line",cell_sell:"sells",cell_buy:"buys",cell_none:"no order",cell_held:"held",cell_open:"open",more:"Show all {count} intervals",less:"Show fewer",hold:"Take out of the plan",release:"Put back into the plan",hold_ask:"Nothing is traded for {span} then; an order that stands is cancelled.",release_ask:"Your policy decides about {span} again.",close:"Close",failed:"That did not work: {problem}",source_price:"Price of your source {price}",setup_energy:"Energy",controls:"Settings"},ut={trading:"Handel",trading_about:"Preis, Position, Plan und Ersparnis eines Haushalts, und warum",flow:"Energie in der Gemeinschaft",flow_about:"Woher die Energie des Haushalts kam und wohin sie ging, Nachbarn getrennt vom Versorger",plan:"Handelsplan",plan_about:"Was der Haushalt in den nächsten Intervallen tut; antippen nimmt eines aus dem Plan",strategy_about:"Ein Dashboard für jeden Haushalt in einem lokalen Energiemarkt",config_entry:"Haushalt",config_entry_help:"Welcher Haushalt gezeigt wird; ohne Auswahl der erste.",config_title:"Titel",config_title_help:"Statt der eigenen Überschrift der Karte.",missing:"Hier ist noch kein Haushalt einem lokalen Energiemarkt beigetreten.",add:"Energy Trade hinzufügen",unavailable:"Energy Trade antwortet nicht. Läuft die Integration?",connecting:"Verbindet …",disconnected:"Keine Verbindung zu Home Assistant. Das Gezeigte ist von vorher.",not_loaded:"Der Haushalt {title} läuft nicht.",not_loaded_because:"Der Haushalt {title} läuft nicht: {problem}",waiting:"Der Markt hat seit dem Start nicht geantwortet. Ablesungen werden aufgehoben und nachgeliefert.",offline:"Der Markt antwortet nicht: Preise und Handel sind von vorher. Ablesungen werden aufgehoben und nachgeliefert.",stale:"Nichts Neues seit {time}. Das Gezeigte ist von da.",market_halted:"Der Markt steht still: Aufträge werden nicht angenommen.",live:"Live",polling:"Jede Minute gefragt",old:"Alt",emergency:"Notlage im Netz seit {time}.",island:"Die Gemeinschaft läuft seit {time} als Insel.",strained:"Das Netz ist seit {time} stark belastet.",event_reduce:"Das Netz bittet bis {time} um weniger Bezug.",event_increase:"Das Netz bittet bis {time} um mehr Verbrauch.",price_now:"Marktpreis jetzt",price_none:"In diesem Intervall noch kein Handel",price_below:"{price}, {difference} weniger, als der Versorger nimmt",price_above:"{price}, {difference} mehr, als der Versorger nimmt",price_same:"{price}, so viel, wie der Versorger nimmt",feed_in:"Einspeisung {price}",supplier:"Versorger {price}",this_interval:"Dieses Intervall, {span}",next_interval:"Nächstes Intervall, {span}",selling:"Verkauft {energy}",buying:"Kauft {energy}",no_trade:"Nichts gehandelt",forecast_surplus:"Erwarteter Überschuss {energy}",forecast_need:"Erwarteter Bedarf {energy}",forecast_balanced:"Voraussichtlich kein Bedarf",forecast_none:"Noch keine Vorhersage",between:"zwischen {low} und {high}",plan_sell:"Bietet {energy} ab {price} an",plan_buy:"Möchte {energy} für höchstens {price}",plan_shadow:"würde: Probebetrieb",plan_none:"Kein Auftrag",gate:"Aufträge für {span} schließen in {left}",why:"Warum",instead:"Sonst",saved:"Bisher gespart",earned:"Bisher eingenommen",paid:"Bisher bezahlt",saved_today:"Heute gespart",earned_today:"Heute eingenommen",paid_today:"Heute bezahlt",so_far:"bisher {all}",shadow_gain:"Hätte eingebracht",shadow:"Probebetrieb: kein Auftrag wird erteilt",away:"Im Urlaub",opted_out:"Geräte bleiben in eigener Hand",trade_switch:"Selbsttätiger Handel",on:"an",off:"aus",policy:"Strategie",as_table:"Als Tabelle",what:"Was",energy:"Energie",time:"Zeit",forecast:"Vorhersage",order:"Auftrag",price:"Preis",neighbours:"Nachbarn",supplier_grid:"Versorger",home:"Dieser Haushalt",flow_none:"Das erste gemessene Intervall ist noch nicht zu Ende.",flow_took:"Im Intervall {span} bezog der Haushalt {net} aus dem Netz: {market} von Nachbarn gekauft, {rest} vom Versorger.",flow_gave:"Im Intervall {span} gab der Haushalt {net} ins Netz: {market} an Nachbarn verkauft, {rest} an den Versorger.",flow_even:"Im Intervall {span} bezog und gab der Haushalt nichts.",flow_oversold:"Im Intervall {span} verkaufte der Haushalt {market} an Nachbarn; {rest}, die ihm fehlten, kamen vom Versorger.",flow_overbought:"Im Intervall {span} kaufte der Haushalt {market} von Nachbarn; {rest}, die er nicht brauchte, gingen an den Versorger.",from_neighbours:"Von Nachbarn zum Haushalt",from_supplier:"Vom Versorger zum Haushalt",to_neighbours:"Vom Haushalt zu Nachbarn",to_supplier:"Vom Haushalt zum Versorger",community_share:"Alle Haushalte zusammen handelten für dieses Intervall {all}; davon hier {share}.",community_other:"Alle Haushalte zusammen handelten für dieses Intervall {all}; davon hier nichts.",community_unknown:"Was die Gemeinschaft für dieses Intervall handelte, ist noch nicht bekannt.",totals:"Seit dem Beitritt",bought:"Von Nachbarn gekauft",sold:"An Nachbarn verkauft",plan_summary:"Nächste {count} Intervalle: verkauft {sold}, kauft {bought} nach bisherigem Plan; {held} zurückgehalten.",plan_expected:"Danach voraussichtlich: verkauft {sold}, kauft {bought}.",plan_empty:"Noch ist nichts geplant.",expected:"voraussichtlich",expected_legend:"Gestrichelt: voraussichtlich, noch nicht beauftragt",chart_label:"Vorhersage am Zähler: Überschuss über, Bedarf unter der Linie",cell_sell:"verkauft",cell_buy:"kauft",cell_none:"kein Auftrag",cell_held:"gehalten",cell_open:"offen",more:"Alle {count} Intervalle zeigen",less:"Weniger zeigen",hold:"Aus dem Plan nehmen",release:"Wieder in den Plan nehmen",hold_ask:"Für {span} wird dann nichts gehandelt; ein bestehender Auftrag wird gelöscht.",release_ask:"Über {span} entscheidet wieder die Strategie.",close:"Schließen",failed:"Das ging nicht: {problem}",source_price:"Preis der Preisquelle {price}",setup_energy:"Energie",controls:"Einstellungen"},mt={en:Ue,de:ut};function $(i,e,t={}){return(mt[i.split("-")[0]??"en"]??Ue)[e].replace(/\{(\w+)\}/g,(s,n)=>t[n]??s)}var Fe=1e3,Le=15e3,gt="component.energy_trade.entity",w=class extends b{static styles=[v];static properties={hass:{attribute:!1},config:{state:!0},seen:{state:!0},failed:{state:!0},now:{state:!0},words:{state:!0}};tickMs=Le;stop;timer;constructor(){super(),this.config={type:""},this.seen=null,this.failed=!1,this.words=!1,this.now=Date.now()/1e3}setConfig(e){if(e.entry_id!==void 0&&typeof e.entry_id!="string")throw new Error("entry_id must be the id of an Energy Trade entry");let t=e.entry_id!==this.config.entry_id;this.config=e,t&&this.stop&&(this.leave(),this.seen=null)}getCardSize(){return 6}getGridOptions(){return{columns:12,min_columns:6,rows:"auto"}}static getStubConfig(){return{}}connectedCallback(){super.connectedCallback();let e=matchMedia("(prefers-reduced-motion: reduce)").matches,t=()=>{document.hidden||(this.now=Date.now()/1e3)};this.timer=setInterval(t,e?Le:this.tickMs),t()}disconnectedCallback(){super.disconnectedCallback(),clearInterval(this.timer),this.leave()}willUpdate(){!this.hass||this.stop||!this.isConnected||(this.stop=Ie(this.hass,this.config.entry_id).listen(e=>{this.failed=e===null,this.seen=e??this.seen,this.now=Date.now()/1e3}),this.hass.loadBackendTranslation("entity","energy_trade").then(()=>this.words=!0))}shouldUpdate(e){if(e.size>1||!e.has("hass"))return!0;let t=e.get("hass"),r=this.hass;return!t||!r||t.locale!==r.locale||t.connected!==r.connected?!0:Object.values(this.seen?.snapshot.entities??{}).some(n=>t.states[n]!==r.states[n])}render(){let e=this.seen?.snapshot??null;if(!this.hass)return d`<ha-card></ha-card>`;let t=this.trouble(e);return d`<ha-card>
      <div class="head">
        <h2>${this.config.title??this.say(this.kind)}</h2>
        ${e?.market&&e.status==="running"?this.age(e,t):c}
      </div>
      ${this.notices(e,t)} ${e?.market?this.body(e):c}
    </ha-card>`}say(e,t={}){return $(this.hass?.language??"en",e,t)}format(e){return new K(this.hass,e.currency??"EUR")}marketTime(){let e=this.trouble(this.seen?.snapshot??null);return e==="stale"||e==="disconnected"?this.seen?.snapshot.at??0:this.clock()}named(e,t){return this.hass?.localize(`${gt}.${e}.state.${t}`)||t.replaceAll("_"," ")}remarks(e){let t=[e?.shadow&&this.say("plan_shadow"),e?.provisional&&this.say("expected")].filter(Boolean);return t.length?` (${t.join(", ")})`:""}showMore(e){let t={entityId:e};this.dispatchEvent(new CustomEvent("hass-more-info",{detail:t,bubbles:!0,composed:!0}))}trouble(e){return e===null&&!this.failed&&this.hass?.connected?"connecting":ze(e,this.clock(),this.hass?.connected??!1)}clock(){return this.now+(this.seen?.offset_s??0)}leave(){this.stop?.(),this.stop=void 0}age(e,t){let r=t==="none"?e.connection==="live"?"live":"polling":"old";return d`<p class="quiet age" data-state=${r}>${this.say(r)} · ${e.title}</p>`}notices(e,t){let r=e?.grid?this.gridNotices(e,e.grid):c,s=e?.market&&e.market.state!=="open",n=t==="none"?"":this.troubleText(e,t);return d`${r} ${s?d`<p class="notice">${this.say("market_halted")}</p>`:c}
    ${n?d`<p class="notice" role="status">${n}</p>`:c}
    ${t==="missing"?d`<p><a href="/config/integrations/dashboard/add?domain=energy_trade">${this.say("add")}</a></p>`:c}`}troubleText(e,t){let r=e?.problem??"",s=e?.at?this.format(e).time(e.at):"",n=t==="not_loaded"&&r?"not_loaded_because":t;return this.say(n,{title:e?.title??"",problem:r,time:s})}gridNotices(e,t){let r=this.format(e),s=t.state,n=t.events.filter(o=>o.source!=="grid_state"&&o.end>this.marketTime());return d`${s==="normal"?c:d`<p class="notice ${s==="strained"?"":"alarm"}" role="alert">
          ${this.say(s,{time:r.time(t.since)})}
        </p>`}
    ${n.slice(0,2).map(o=>d`<p class="notice" role="status">
          ${this.say(o.kind==="reduce"?"event_reduce":"event_increase",{time:r.time(o.end)})}
          ${o.text}
        </p>`)}`}};var Ve=3,ft=26,je=1,Be={neighbours:26,supplier:74},Z=class extends w{static styles=[v,f`
      .picture {
        display: grid;
        grid-template-columns: minmax(max-content, 1fr) minmax(40px, 2fr) minmax(max-content, 1fr);
        grid-template-rows: 72px 72px;
      }
      .node {
        display: grid;
        place-content: center;
        padding: var(--gap-2);
        border: 1px solid var(--trade-line);
        border-radius: var(--round);
        text-align: center;
      }
      .node b {
        font-weight: var(--ha-font-weight-medium, 500);
      }
      .neighbours {
        grid-area: 1 / 1;
        margin-bottom: var(--gap-1);
        border-inline-start: 4px solid var(--trade-sell);
      }
      .supplier {
        grid-area: 2 / 1;
        margin-top: var(--gap-1);
        border-inline-start: 4px solid var(--trade-buy);
      }
      .home {
        grid-area: 1 / 3 / 3 / 3;
        border-width: 2px;
        border-color: var(--primary-color, #009ac7);
      }
      svg {
        grid-area: 1 / 2 / 3 / 2;
        height: 100%;
      }
      .share {
        display: flex;
        height: 12px;
        margin-top: var(--gap-2);
        overflow: hidden;
        border-radius: 6px;
        background: var(--trade-line);
      }
      .share i {
        background: var(--primary-color, #009ac7);
      }
    `];kind="flow";body(e){let{meter:t,account:r}=e;return d`${t?this.last(e,t):d`<p>${this.say("flow_none")}</p>`}
    ${r?this.totals(e,r):c}`}last(e,t){let r=t.consumption_wh-t.production_wh,s=De(r,t.position_wh??0);return d`<p class="answer">${this.sentence(e,t,r)}</p>
      ${this.picture(e,s)} ${this.community(e,t)} ${this.table(e,s)}`}sentence(e,t,r){let s=this.format(e),n=t.position_wh??0,o=r-n,a={span:s.span(t.start,t.end),net:s.energy(Math.abs(r)),market:s.energy(Math.abs(n)),rest:s.energy(Math.abs(o))};return r===0&&n===0?this.say("flow_even",a):n!==0&&o!==0&&n>0!=o>0?this.say(n<0?"flow_oversold":"flow_overbought",a):this.say(r>0?"flow_took":"flow_gave",a)}picture(e,t){let r=this.format(e),s=Math.max(1,...t.map(o=>o.wh)),n=o=>t.filter(a=>a.key.endsWith(o)).map(a=>d`<span>${a.key.startsWith("from")?"→":"←"} ${r.energy(a.wh)}</span>`);return d`<div class="picture" aria-hidden="true">
      <div class="node neighbours"><b>${this.say("neighbours")}</b>${n("neighbours")}</div>
      <div class="node supplier"><b>${this.say("supplier_grid")}</b>${n("supplier")}</div>
      <svg viewBox="0 0 100 100" preserveAspectRatio="none">${t.map(o=>yt(o,s))}</svg>
      <div class="node home"><b>${this.say("home")}</b></div>
    </div>`}community(e,t){let r=U(e,t.start)?.traded_wh??null;if(r===null)return d`<p>${this.say("community_unknown")}</p>`;let s=this.format(e),n=Math.min(r,Math.abs(t.position_wh??0)),o=r>0?s.percent(n,r):"",a=n>0?"community_share":"community_other";return d`<section>
      <p>${this.say(a,{all:s.energy(r),share:o})}</p>
      <div class="share" aria-hidden="true"><i style="width:${r>0?100*n/r:0}%"></i></div>
    </section>`}totals(e,t){let r=this.format(e);return d`<section>
      <h3>${this.say("totals")}</h3>
      <dl class="figures">
        <div><dt>${this.say("bought")}</dt><dd>${r.energy(t.bought_wh)}</dd></div>
        <div><dt>${this.say("sold")}</dt><dd>${r.energy(t.sold_wh)}</dd></div>
        <div><dt>${this.say("saved")}</dt><dd>${r.money(t.saved_micro)}</dd></div>
      </dl>
    </section>`}table(e,t){let r=this.format(e);return d`<details>
      <summary>${this.say("as_table")}</summary>
      <table>
        <thead>
          <tr><th scope="col">${this.say("what")}</th><th scope="col">${this.say("energy")}</th></tr>
        </thead>
        <tbody>
          ${t.map(s=>d`<tr><td>${this.say(s.key)}</td><td class="number">${r.energy(s.wh)}</td></tr>`)}
        </tbody>
      </table>
    </details>`}};function yt(i,e){let t=i.key.endsWith("neighbours")?Be.neighbours:Be.supplier,r=(Ve+(ft-Ve)*i.wh/e)/2,s=50+(t<50?-r-je:r+je),n=i.key.endsWith("neighbours")?"var(--trade-sell)":"var(--trade-buy)",o=`M0 ${t-r}C50 ${t-r} 50 ${s-r} 100 ${s-r}V${s+r}C50 ${s+r} 50 ${t+r} 0 ${t+r}Z`;return W`<path d=${o} style="fill:${n}" fill-opacity="0.75" />`}var qe=16,_t={sell:"▲",buy:"▼",held:"‖",none:"–",open:"·"},J={sell:"cell_sell",buy:"cell_buy",held:"cell_held",none:"cell_none",open:"cell_open"},X=class extends w{static properties={all:{state:!0},chosen:{state:!0},problem:{state:!0}};static styles=[v,f`
      .cells {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(76px, 1fr));
        gap: var(--gap-1);
        list-style: none;
      }
      .cells button {
        position: relative;
        display: grid;
        width: 100%;
        min-height: 48px;
        padding: var(--gap-1) var(--gap-2);
        border-inline-start: 4px solid var(--side, var(--trade-line));
        text-align: start;
        font-size: var(--ha-font-size-s, 12px);
      }
      .cells b {
        font-weight: var(--ha-font-weight-medium, 500);
      }
      [data-action="sell"] {
        --side: var(--trade-sell);
      }
      [data-action="buy"] {
        --side: var(--trade-buy);
      }
      [data-action="held"] {
        --side: var(--trade-warn);
      }
      .cells [data-provisional],
      .swatch {
        border: 1px dashed var(--side, var(--primary-text-color));
      }
      .cells [data-provisional] {
        padding-inline-start: calc(var(--gap-2) + 3px);
      }
      .cells [data-provisional] b {
        font-weight: var(--ha-font-weight-normal, 400);
      }
      .swatch {
        display: inline-block;
        width: 16px;
        height: 10px;
        border-radius: 3px;
      }
      figure {
        margin: 0;
      }
      .chart {
        height: 64px;
        margin-top: var(--gap-1);
      }
      .chart .sell {
        fill: var(--trade-sell);
      }
      .chart .buy {
        fill: var(--trade-buy);
      }
      .chart line {
        stroke: var(--primary-text-color);
        stroke-width: 1px;
        vector-effect: non-scaling-stroke;
      }
      dialog {
        max-width: min(440px, calc(100vw - 32px));
        box-sizing: border-box;
        padding: var(--gap-4);
        border: 1px solid var(--trade-line);
        border-radius: var(--round);
        background: var(--card-background-color, #fff);
        color: var(--primary-text-color);
      }
      dialog[open] {
        display: grid;
        gap: var(--gap-2);
      }
      .actions {
        display: flex;
        flex-wrap: wrap;
        gap: var(--gap-2);
      }
    `];focused=0;kind="plan";constructor(){super(),this.all=!1,this.chosen=null,this.problem=""}body(e){let t=We(e,this.marketTime()),r=this.all?t:t.slice(0,qe);return this.focused=Math.min(this.focused,r.length-1),d`<p>${this.summary(e,t)}</p>
      ${this.chart(e,t)}
      ${r.some(L)?d`<p class="quiet"><span class="swatch" aria-hidden="true"></span> ${this.say("expected_legend")}</p>`:c}
      <ul class="cells" @keydown=${this.move}>
        ${r.map((s,n)=>d`<li>${this.cell(e,s,n)}</li>`)}
      </ul>
      ${t.length>qe?d`<button type="button" aria-expanded=${this.all} @click=${()=>this.all=!this.all}>
            ${this.say(this.all?"less":"more",{count:String(t.length)})}
          </button>`:c}
      ${this.table(e,t)} ${this.dialog(e,t)}`}updated(){let e=this.renderRoot.querySelector("dialog");e&&this.chosen!==null&&!e.open&&e.showModal(),e&&this.chosen===null&&e.open&&e.close()}summary(e,t){let r=this.format(e),s=t.filter(L),n=t.filter(h=>!L(h)),o=(h,m)=>r.energy(h.reduce((g,x)=>g+(F(x)===m?Y(x):0),0)),a=h=>({sold:o(h,"sell"),bought:o(h,"buy")}),l=t.filter(h=>h.row?.held).length;if(t.every(h=>F(h)==="open"))return this.say("plan_empty");let p={count:String(t.length),held:String(l),...a(n)},u=s.length?` ${this.say("plan_expected",a(s))}`:"";return this.say("plan_summary",p)+u}chart(e,t){let r=t.map(l=>l.row?.forecast?.net_wh??0),[s,n]=[Math.max(0,...r),Math.min(0,...r)];if(s===n)return c;let o=100*-n/(s-n),a=this.format(e);return d`<figure>
      <figcaption class="quiet">${this.say("chart_label")}</figcaption>
      <svg class="chart" aria-hidden="true" viewBox="0 0 ${t.length} 100" preserveAspectRatio="none">
        ${r.map((l,p)=>{let u=100*Math.abs(l)/(s-n),h=l<0?o-u:o;return W`<rect class=${l<0?"sell":"buy"} x=${p+.1} y=${h} width="0.8" height=${u} />`})}
        ${W`<line x1="0" y1=${o} x2=${t.length} y2=${o} />`}
      </svg>
      <p class="quiet ends" aria-hidden="true">
        <span>${a.time(t[0]?.start??0)}</span><span>${a.time(t.at(-1)?.end??0)}</span>
      </p>
    </figure>`}cell(e,t,r){let s=this.format(e),n=F(t),o=Y(t),a=o>0&&n!=="held"?s.energy(o):this.say(J[n]),l=L(t),u=[a===this.say(J[n])?"":this.say(J[n]),l?this.say("expected"):"",this.expected(s,t)];return d`<button
      type="button"
      data-action=${n}
      ?data-provisional=${l}
      tabindex=${r===this.focused?0:-1}
      aria-haspopup="dialog"
      @click=${()=>this.open(t,r)}
    >
      <b>${s.time(t.start)}</b>
      <span><span aria-hidden="true">${_t[n]}</span> ${a}</span>
      <span class="hidden">${u.filter(Boolean).join(", ")}</span>
    </button>`}action(e,t){let r=F(t),s=Y(t),n=this.say(J[r]),o=this.remarks(r==="held"?null:M(t));return(s>0&&r!=="held"?`${n} ${e.energy(s)}`:n)+o}expected(e,t){let r=t.row?.forecast?.net_wh;if(r===void 0)return"";let s=r<0?"forecast_surplus":r>0?"forecast_need":"forecast_balanced";return this.say(s,{energy:e.energy(Math.abs(r))})}table(e,t){let r=this.format(e),s=["time","forecast","order","price"].map(n=>this.say(n));return d`<details>
      <summary>${this.say("as_table")}</summary>
      <div class="scroll" tabindex="0" role="region" aria-label=${this.say("chart_label")}>
        <table>
          <thead>
            <tr>${s.map(n=>d`<th scope="col">${n}</th>`)}</tr>
          </thead>
          <tbody>
            ${t.map(n=>d`<tr>
                  <td>${r.span(n.start,n.end)}</td>
                  <td>${this.expected(r,n)||this.say("forecast_none")}</td>
                  <td>${this.action(r,n)}</td>
                  <td class="number">${this.limit(r,n)}</td>
                </tr>`)}
          </tbody>
        </table>
      </div>
    </details>`}limit(e,t){let r=M(t)?.limit_micro_per_kwh??t.row?.price_micro_per_kwh??null;return r===null?"–":e.price(r)}dialog(e,t){let r=t.find(({start:n})=>n===this.chosen),s=()=>{this.chosen=null};return d`<dialog aria-labelledby="asked" @close=${s} @cancel=${s}>
      ${r?this.asked(e,r):c}
    </dialog>`}asked(e,t){let r=this.format(e),s=r.span(t.start,t.end),n=t.row?.held??!1,o=t.row?.plan,a=t.row?.source_price_micro_per_kwh??null;return d`<h2 id="asked">${s}: ${this.action(r,t)}</h2>
      <p>${this.expected(r,t)||this.say("forecast_none")}</p>
      ${a===null?c:d`<p>${this.say("source_price",{price:r.price(a)})}</p>`}
      ${o?d`<p>${this.say("why")}: ${this.named("sensor.last_decision",o.rule)}</p>
            <p class="quiet" lang="en">${o.text}</p>`:c}
      ${t.open?d`<p>${this.say(n?"release_ask":"hold_ask",{span:s})}</p>`:c}
      ${this.problem?d`<p class="notice" role="alert">${this.say("failed",{problem:this.problem})}</p>`:c}
      <div class="actions">
        ${t.open?d`<button type="button" @click=${()=>this.hold(e,t,!n)}>
              ${this.say(n?"release":"hold")}
            </button>`:c}
        <button type="button" @click=${()=>this.chosen=null}>${this.say("close")}</button>
      </div>`}open(e,t){this.focused=t,this.problem="",this.chosen=e.start}async hold(e,t,r){let s=new Date(t.start*1e3).toISOString(),n={config_entry_id:e.entry_id,delivery_start:s,hold:r};try{await this.hass?.callService("energy_trade","set_interval",n),this.chosen=null}catch(o){this.problem=o instanceof Error?o.message:String(o.message??o)}}move(e){let t=[...this.renderRoot.querySelectorAll(".cells button")],r=t.indexOf(e.target),s=t[0]?.offsetTop,n=Math.max(1,t.filter(l=>l.offsetTop===s).length),o={ArrowRight:1,ArrowLeft:-1,ArrowDown:n,ArrowUp:-n},a=e.key==="Home"?0:e.key==="End"?t.length-1:r+(o[e.key]??0);r<0||a===r||!t[a]||(e.preventDefault(),this.focused=a,this.requestUpdate(),t[a].focus())}};var bt=["switch","select","number","button"],Ge=["trading","shadow","policy"];function vt(i,e){let t=o=>o?.platform==="energy_trade"&&!o.hidden&&o.entity_category===void 0&&(i.devices[o.device_id??""]?.config_entries.includes(e)??!1),r=Object.values(i.entities).filter(t),s=o=>bt.indexOf(o.entity_id.split(".")[0]??""),n=o=>{let a=Ge.indexOf(o.translation_key??"");return a<0?Ge.length:a};return r.filter(o=>s(o)>=0).sort((o,a)=>n(o)-n(a)||s(o)-s(a)||o.entity_id.localeCompare(a.entity_id)).map(o=>o.entity_id)}function $t(i,e,t){let r=a=>({type:`custom:energy-trade-${a}-card`,entry_id:e.entry_id}),n=vt(i,e.entry_id).map(wt),o={type:"heading",heading:$(i.language,"controls")};return{type:"sections",title:e.title,path:`home-${t}`,max_columns:3,sections:[{type:"grid",cards:[r("trading")]},{type:"grid",cards:[r("plan")]},{type:"grid",cards:[r("flow")]},...n.length>0?[{type:"grid",cards:[o,...n]}]:[]]}}function wt(i){return{type:"tile",entity:i,name:{type:"entity"},...i.startsWith("button.")?{hide_state:!0}:{}}}async function xt(i){try{return(await i.callWS({type:"energy/get_prefs"})).energy_sources.length>0}catch{return!1}}function St(i){let e=["energy-date-selection","energy-usage-graph","energy-sources-table"].map(t=>({type:t}));return{type:"sections",title:$(i.language,"setup_energy"),path:"energy",max_columns:1,sections:[{type:"grid",column_span:1,cards:e.map(t=>({...t,grid_options:{columns:"full"}}))}]}}async function Ke(i){let t=(await i.callWS({type:"energy_trade/entries"}).catch(()=>[])).map((s,n)=>$t(i,s,n+1)),r={title:$(i.language,"trading"),cards:[{type:"custom:energy-trade-trading-card"}]};return{views:[...t.length>0?t:[r],...await xt(i)?[St(i)]:[]]}}function Ye(i,e){return(t,r)=>{let s=t.entities[r];if(s?.platform!=="energy_trade"||!e(s.translation_key??""))return null;let n=t.devices[s.device_id??""]?.config_entries[0];return{config:{type:`custom:${i}`,...n?{entry_id:n}:{}}}}}var Q=class extends w{static styles=[v,f`
      .band {
        position: relative;
        height: 12px;
        margin-top: var(--gap-2);
        border-radius: 6px;
        background: linear-gradient(to right, var(--trade-sell), var(--trade-line), var(--trade-buy));
      }
      .band i {
        position: absolute;
        top: -4px;
        width: 4px;
        height: 20px;
        margin-inline-start: -2px;
        border-radius: 2px;
        background: var(--primary-text-color);
        box-shadow: 0 0 0 2px var(--card-background-color, #fff);
      }
      .two {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
        gap: var(--gap-4);
      }
      .two > section {
        padding-inline-start: var(--gap-2);
        border-inline-start: 4px solid var(--side, var(--trade-line));
      }
      [data-side="sell"] {
        --side: var(--trade-sell);
      }
      [data-side="buy"] {
        --side: var(--trade-buy);
      }
      .tags {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--gap-2) var(--gap-4);
      }
      .switch {
        display: inline-flex;
        align-items: center;
        gap: var(--gap-2);
      }
      .switch i {
        width: 36px;
        height: 20px;
        border: 1px solid currentcolor;
        border-radius: 10px;
        background: var(--trade-soft);
      }
      .switch i::after {
        content: "";
        display: block;
        width: 14px;
        height: 14px;
        margin: 2px;
        border-radius: 50%;
        background: currentcolor;
      }
      .switch[aria-checked="true"] i {
        background: var(--primary-color, #009ac7);
      }
      .switch[aria-checked="true"] i::after {
        margin-inline-start: 18px;
      }
    `];kind="trading";tickMs=Fe;body(e){let t=this.marketTime(),r=U(e,D(e,Math.floor(t))),s=me(e,t),n=U(e,s.start);return d`${this.price(e,r)}
      <div class="two">${this.present(e,r)} ${this.coming(e,n,s)}</div>
      ${n?.plan?this.why(n.plan):c} ${this.money(e)} ${this.controls(e)}`}price(e,t){let r=this.format(e),s=e.market,n=t?.supplier_micro_per_kwh??s.supplier_micro_per_kwh,o=t?.price_micro_per_kwh??null,[a,l]=[Math.min(s.feed_in_micro_per_kwh,n),Math.max(s.feed_in_micro_per_kwh,n)],p=o===null||l===a?null:Math.min(100,Math.max(0,100*(o-a)/(l-a)));return d`<section>
      <h3>${this.say("price_now")}</h3>
      <p class="answer">${o===null?this.say("price_none"):this.compare(r,o,n)}</p>
      <div aria-hidden="true" class="band">${p===null?c:d`<i style="left:${p}%"></i>`}</div>
      <p class="quiet ends">
        <span>${this.say("feed_in",{price:r.price(s.feed_in_micro_per_kwh)})}</span>
        <span>${this.say("supplier",{price:r.price(n)})}</span>
      </p>
    </section>`}compare(e,t,r){let s=t<r?"price_below":t>r?"price_above":"price_same";return this.say(s,{price:e.price(t),difference:e.price(Math.abs(r-t))})}present(e,t){let r=this.format(e),s=D(e,Math.floor(this.marketTime())),n=r.span(s,s+(e.market?.interval_s??0)),o=t?.position_wh??0,a=o<0?"sell":o>0?"buy":"",l=o<0?"selling":o>0?"buying":"no_trade";return d`<section data-side=${a}>
      <h3>${this.say("this_interval",{span:n})}</h3>
      <p>${this.say(l,{energy:r.energy(Math.abs(o))})}</p>
    </section>`}coming(e,t,r){let s=this.format(e),n=s.span(r.start,r.start+(e.market?.interval_s??0));return d`<section data-side=${t?.plan?.side??""}>
      <h3>${this.say("next_interval",{span:n})}</h3>
      <p>${this.forecast(s,t)}</p>
      <p>${t?.held?this.say("cell_held"):this.planned(s,t?.plan??null)}</p>
      <p class="quiet" role="timer" aria-live="off">
        ${this.say("gate",{span:s.time(r.start),left:Ne(r.closes-this.marketTime())})}
      </p>
    </section>`}forecast(e,t){let r=t?.forecast;if(!r)return this.say("forecast_none");let{net_wh:s,low_wh:n,high_wh:o}=r,a=s<0?"forecast_surplus":s>0?"forecast_need":"forecast_balanced",l=this.say(a,{energy:e.energy(Math.abs(s))});if(n===null||o===null||s===0)return l;let[p,u]=s<0?[-o,-n]:[n,o];return`${l} (${this.say("between",{low:e.energy(p),high:e.energy(u)})})`}planned(e,t){if(!t?.side||t.energy_wh===null||t.limit_micro_per_kwh===null)return this.say("plan_none");let r={energy:e.energy(t.energy_wh),price:e.price(t.limit_micro_per_kwh)};return this.say(t.side==="sell"?"plan_sell":"plan_buy",r)+this.remarks(t)}why(e){return d`<details>
      <summary><span>${this.say("why")}: ${this.named("sensor.last_decision",e.rule)}</span></summary>
      <p lang="en">${e.text}</p>
      ${e.alternative?d`<p class="quiet">${this.say("instead")}: <span lang="en">${e.alternative}</span></p>`:c}
    </details>`}money(e){let t=e.account;if(!t)return d``;let r=this.format(e),s=e.switches?.shadow?this.reading(e,"sensor.shadow_gain"):null,n=[["saved","sensor.saved_today",t.saved_micro],["earned","sensor.money_received_today",t.revenue_micro],["paid","sensor.money_paid_today",t.cost_micro]];return d`<dl class="figures">
      ${n.map(([o,a,l])=>this.sum(r,o,this.reading(e,a),l))}
      ${s===null?c:d`<div><dt>${this.say("shadow_gain")}</dt><dd>${r.money(1e6*s)}</dd></div>`}
    </dl>`}sum(e,t,r,s){let n=e.money(s);return r===null?d`<div><dt>${this.say(t)}</dt><dd>${n}</dd></div>`:d`<div>
      <dt>${this.say(`${t}_today`)}</dt>
      <dd>${e.money(1e6*r)}</dd>
      <dd class="quiet">${this.say("so_far",{all:n})}</dd>
    </div>`}reading(e,t){let r=this.hass?.states[e.entities[t]??""]?.state??"";return r===""||Number.isNaN(Number(r))?null:Number(r)}controls(e){let{switches:t,policy:r,entities:s}=e;if(!t)return d``;let n=s["select.policy"],o=r?`${this.say("policy")}: ${this.named("select.policy",r)}`:"";return d`<div class="tags">
      ${this.tradingSwitch(t.trading,s["switch.trading"])}
      ${n?d`<button type="button" @click=${()=>this.showMore(n)}>${o}</button>`:d`<span>${o}</span>`}
      ${["shadow","away","opted_out"].map(a=>t[a]?d`<span class="mark">${this.say(a)}</span>`:c)}
    </div>`}tradingSwitch(e,t){return t?d`<button type="button" role="switch" class="switch" aria-checked=${e} @click=${()=>{this.hass?.callService("switch",e?"turn_off":"turn_on",{entity_id:t}).catch(()=>{})}}>
      <i aria-hidden="true"></i>${this.say("trade_switch")} <span aria-hidden="true">${this.say(e?"on":"off")}</span>
    </button>`:d`<span>${this.say("trade_switch")} ${this.say(e?"on":"off")}</span>`}};var ge=class extends HTMLElement{static generate(e,t){return Ke(t)}},Ze="https://github.com/energy-trade/energy-trade",kt=()=>document.documentElement.lang||"en",V=i=>$(kt(),i);function At(){let i={entry_id:["config_entry","config_entry_help"],title:["config_title","config_title_help"]};return{schema:[{name:"entry_id",selector:{config_entry:{integration:"energy_trade"}}},{name:"title",selector:{text:{}}}],computeLabel:({name:e})=>i[e]&&V(i[e][0]),computeHelper:({name:e})=>i[e]&&V(i[e][1])}}function Je(i,e){let t=()=>{customElements.get(i)??customElements.define(i,e)};t(),customElements.whenDefined("home-assistant").then(t).catch(()=>{})}function Xe(i,e){i.some(({type:t})=>t===e.type)||i.push(e)}function Et(){let i=[{tag:"energy-trade-trading-card",element:Q,name:"trading",fits:()=>!0},{tag:"energy-trade-plan-card",element:X,name:"plan",fits:e=>/decision|forecast|limit|policy/.test(e)},{tag:"energy-trade-flow-card",element:Z,name:"flow",fits:e=>e.startsWith("energy_")}];window.customCards??=[];for(let{tag:e,element:t,name:r,fits:s}of i)Object.assign(t,{getConfigForm:At}),Je(e,t),Xe(window.customCards,{type:e,name:`Energy Trade: ${V(r)}`,description:V(`${r}_about`),preview:!0,documentationURL:Ze,getEntitySuggestion:Ye(e,s)});Je("ll-strategy-dashboard-energy-trade",ge),window.customStrategies??=[],Xe(window.customStrategies,{type:"energy-trade",strategyType:"dashboard",name:"Energy Trade",description:V("strategy_about"),documentationURL:Ze})}Et();
/*! Bundled license information:

@lit/reactive-element/css-tag.js:
  (**
   * @license
   * Copyright 2019 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)

@lit/reactive-element/reactive-element.js:
lit-html/lit-html.js:
lit-element/lit-element.js:
  (**
   * @license
   * Copyright 2017 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)

lit-html/is-server.js:
  (**
   * @license
   * Copyright 2022 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)
*/
