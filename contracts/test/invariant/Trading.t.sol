// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Community} from "../base/Community.sol";
import {GasBurner} from "../base/Traders.sol";
import {VM} from "../base/Vm.sol";

/// @title TradingInvariants: the escrow is the open deals, after any sequence of calls
/// @dev Its own handler, as `LedgerInvariants`. Three members have meters; the fourth is a contract that
/// nobody can pay. Compliance blocks and frees them at any time.
/// forge-config: default.invariant.runs = 24
contract TradingInvariants is Community {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private constant MEMBERS = 4;
    uint256 private constant WH = 1e15;
    uint256 private constant ENDOWMENT_WH = 100_000;

    address[] private members;
    uint256[] private sequences;
    uint256[] private registersWh;
    uint256 private ended;

    function setUp() public override {
        super.setUp();
        ledger.setCompliance(address(compliance), false);
        for (uint256 i; i < MEMBERS - 1; ++i) {
            uint256 key = 0x14A2 + i;
            register(0x3E7E20 + i, key);
            _join(VM.addr(key));
        }
        _join(address(new GasBurner()));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](10);
        selectors[0] = this.actOffer.selector;
        selectors[1] = this.actMatch.selector;
        selectors[2] = this.actMatchPart.selector;
        selectors[3] = this.actAgree.selector;
        selectors[4] = this.actRead.selector;
        selectors[5] = this.actSettle.selector;
        selectors[6] = this.actRefund.selector;
        selectors[7] = this.actClose.selector;
        selectors[8] = this.actFetch.selector;
        selectors[9] = this.actBlock.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(this), selectors);
    }

    /* WHAT ANYBODY MAY DO */

    function actOffer(uint256 who, bool native, uint256 energyWh, uint256 price, uint256 validityS)
        external
    {
        _offer(_market(native), _member(who), energyWh, price % 1e6, 1 hours + validityS % 7 days);
    }

    function actMatch(uint256 who, bool native, uint256 seed) external {
        P2PTrading market = _market(native);
        uint256 id = _offered(market, seed);
        if (id == 0) return;
        _take(market, _member(who), market.paymentOf(id), abi.encodeCall(market.matchOrder, (id)));
    }

    function actMatchPart(uint256 who, bool native, uint256 seed, uint256 energyWh) external {
        P2PTrading market = _market(native);
        uint256 id = _offered(market, seed);
        if (id == 0) return;
        uint256 amount = market.tradeOf(id).amount;
        amount = (1 + energyWh % (amount / WH)) * WH;
        uint256 payment = market.paymentFor(id, amount);
        _take(market, _member(who), payment, abi.encodeCall(market.matchPart, (id, amount)));
    }

    function actAgree(bool native, uint256 seed) external {
        P2PTrading market = _market(native);
        uint256 id = _matched(market, seed);
        if (id == 0) return;
        IP2PTrading.EnergyTrade memory deal = market.tradeOf(id);
        VM.prank(deal.seller);
        market.settleTrade(id);
        if (!market.tradeOf(id).completed) {
            VM.prank(deal.buyer);
            market.settleTrade(id);
        }
        VM.assertTrue(market.tradeOf(id).completed, "what both want is done");
        ended += 1;
    }

    /// @dev A quarter of an hour passes, and a member's meter reads on.
    function actRead(uint256 who, uint256 energyWh) external {
        who %= MEMBERS - 1;
        VM.warp(block.timestamp + INTERVAL_S);
        registersWh[who] += energyWh % 2500;
        sequences[who] += 1;
        read(0x3E7E20 + who, block.timestamp, sequences[who], registersWh[who]);
    }

    function actSettle(bool native, uint256 seed) external {
        P2PTrading market = _market(native);
        uint256 id = _matched(market, seed);
        if (id == 0) return;
        (bool done, bytes memory why) =
            address(market).call(abi.encodeCall(IP2PTrading.settleTrade, (id)));
        VM.assertTrue(
            done || bytes4(why) == IP2PTrading.DeliveryNotShown.selector, "a stranger settles"
        );
        if (market.tradeOf(id).completed) ended += 1;
    }

    function actRefund(bool native, uint256 seed) external {
        P2PTrading market = _market(native);
        uint256 id = _matched(market, seed);
        if (id == 0) return;
        uint256 refundFrom = market.tradeOf(id).timestamp + SETTLEMENT_PERIOD_S;
        if (block.timestamp < refundFrom) VM.warp(refundFrom);
        (bool done, bytes memory why) =
            address(market).call(abi.encodeCall(IP2PTrading.refundTrade, (id)));
        VM.assertTrue(
            done || bytes4(why) == IP2PTrading.DeliveryWasShown.selector, "nobody holds up a refund"
        );
        if (done) ended += 1;
        else market.settleTrade(id); // the other way out is open
    }

    function actClose(bool native, uint256 seed, bool expired) external {
        P2PTrading market = _market(native);
        uint256 id = _pick(market, seed, IP2PTrading.Stage.Offered, expired);
        if (id == 0) return;
        if (!expired) VM.prank(market.tradeOf(id).seller);
        market.closeSellOrder(id);
    }

    function actFetch(uint256 who, bool native) external {
        P2PTrading market = _market(native);
        address account = _member(who);
        if (market.proceeds(account) != 0) {
            VM.prank(account);
            market.fetchProceeds(alice);
        }
        if (market.keptEnergy(account) != 0 && !_isBlocked(account)) {
            market.sendKeptEnergy(account);
        }
    }

    function actBlock(uint256 who, uint256 chance) external {
        address account = _member(who);
        bool on = chance % 4 == 0;
        VM.prank(complianceOfficer);
        compliance.setBlocked(account, on, on);
    }

    /* INVARIANTS */

    function invariant_theEscrowIsTheOpenDeals() external view {
        _checkEscrow(trading, currency.balanceOf(address(trading)));
        _checkEscrow(nativeTrading, address(nativeTrading).balance);
    }

    /// @dev The run did something.
    function afterInvariant() external view {
        VM.assertGe(ended, 1, "no trade came to its end");
    }

    /* HELP */

    /// @dev Energy of offers and trades, payments of trades, and what is kept for somebody.
    function _checkEscrow(P2PTrading market, uint256 money) private view {
        uint256 energy;
        uint256 payments;
        for (uint256 id = 1; id <= market.dealCount(); ++id) {
            (IP2PTrading.Stage stage,) = market.stageOf(id);
            bool matched = stage == IP2PTrading.Stage.Matched;
            if (matched || stage == IP2PTrading.Stage.Offered) energy += market.tradeOf(id).amount;
            if (matched) payments += market.paymentOf(id);
        }
        for (uint256 i; i < MEMBERS; ++i) {
            energy += market.keptEnergy(members[i]);
            payments += market.proceeds(members[i]);
        }
        VM.assertEq(token.balanceOf(address(market)), energy, "energy in escrow");
        VM.assertEq(money, payments, "money in escrow");
    }

    function _take(P2PTrading market, address buyer, uint256 payment, bytes memory data) private {
        uint256 value = market == nativeTrading ? payment : 0;
        VM.prank(buyer);
        (bool done, bytes memory why) = address(market).call{value: value}(data);
        bytes4 reason = bytes4(why);
        VM.assertTrue(
            done || reason == IP2PTrading.OwnOrder.selector
                || reason == IP2PTrading.PartyBlocked.selector,
            "a match"
        );
    }

    /// @dev An offer that stands, a new one if there is none; 0 when its seller is blocked.
    function _offered(P2PTrading market, uint256 seed) private returns (uint256 id) {
        id = _pick(market, seed, IP2PTrading.Stage.Offered, false);
        if (id != 0 || !_offer(market, _member(seed), seed >> 8, seed % 1e6, 2 days)) return id;
        return market.dealCount();
    }

    /// @dev A trade that is open, a new one if there is none; 0 when a party of it is blocked.
    function _matched(P2PTrading market, uint256 seed) private returns (uint256 id) {
        id = _pick(market, seed, IP2PTrading.Stage.Matched, false);
        if (id != 0) return id;
        id = _offered(market, seed);
        if (id == 0) return 0;
        address buyer = _member(seed >> 8);
        if (buyer == market.tradeOf(id).seller) buyer = _member((seed >> 8) + 1);
        _take(market, buyer, market.paymentOf(id), abi.encodeCall(market.matchOrder, (id)));
        (IP2PTrading.Stage stage,) = market.stageOf(id);
        return stage == IP2PTrading.Stage.Matched ? id : 0;
    }

    function _offer(
        P2PTrading market,
        address seller,
        uint256 energyWh,
        uint256 price,
        uint256 validityS
    ) private returns (bool done) {
        energyWh = 1 + energyWh % 5000;
        if (energyOf(seller) < energyWh) return false;
        VM.prank(seller);
        (done,) = address(market)
            .call(abi.encodeCall(market.createSellOrder, (energyWh * WH, price, validityS)));
        VM.assertTrue(done || _isBlocked(seller), "an offer");
    }

    /// @dev A deal in this stage, from a random one on; 0 for none.
    function _pick(P2PTrading market, uint256 seed, IP2PTrading.Stage wanted, bool wantsExpired)
        private
        view
        returns (uint256)
    {
        uint256 count = market.dealCount();
        for (uint256 i; i < count; ++i) {
            uint256 id = 1 + (seed % count + i) % count;
            (IP2PTrading.Stage stage, uint256 validUntil) = market.stageOf(id);
            bool expired = wanted == IP2PTrading.Stage.Offered && block.timestamp >= validUntil;
            if (stage == wanted && expired == wantsExpired) return id;
        }
        return 0;
    }

    function _join(address member) private {
        members.push(member);
        sequences.push(0);
        registersWh.push(0);
        VM.prank(address(token));
        ledger.mintEnergy(member, ENDOWMENT_WH);
        currency.mint(member, PURSE_MICRO);
        VM.deal(member, 1 ether);
        VM.startPrank(member);
        token.approve(address(trading), type(uint256).max);
        token.approve(address(nativeTrading), type(uint256).max);
        currency.approve(address(trading), type(uint256).max);
        VM.stopPrank();
    }

    function _market(bool native) private view returns (P2PTrading) {
        return native ? nativeTrading : trading;
    }

    function _member(uint256 who) private view returns (address) {
        return members[who % MEMBERS];
    }

    function _isBlocked(address account) private view returns (bool) {
        return !compliance.canSend(account);
    }
}
