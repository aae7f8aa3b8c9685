// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeTransferLib} from "solady/src/utils/SafeTransferLib.sol";

import {SmartMeterRegistry} from "./SmartMeterRegistry.sol";
import {IERC7943Fungible} from "./interfaces/IERC7943.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IP2PTrading} from "./interfaces/IP2PTrading.sol";
import {ISmartMeter} from "./interfaces/ISmartMeter.sol";

/// @title P2PTrading: escrowed sales between two accounts, without a coordinator
/// @notice Nobody's role is needed at any step. Compliance acts on the accounts, never on the escrow:
/// energy that was forced out of here would be missing to whose deals it was.
contract P2PTrading is IP2PTrading, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev An offer and the trade that it becomes, under one id.
    struct Deal {
        address seller;
        uint40 validUntil;
        uint48 energyWh;
        Stage stage;
        address buyer;
        uint40 changedAt;
        bool sellerAgrees;
        bool buyerAgrees;
        bool hasBaseline;
        uint128 price;
        uint64 baselineWh;
        uint64 epoch;
        uint256 deviceId;
    }

    uint256 private constant _UNITS_PER_WH = 1e15;
    uint256 private constant _WH_PER_KWH = 1000;
    uint256 private constant _VALIDITY_MAX_S = 366 days;
    uint256 private constant _SETTLEMENT_PERIOD_MAX_S = 90 days;
    uint256 private constant _SUCCESSORS_MAX = 4;
    /// @dev Enough for a contract wallet, too little to make the other party's call dear.
    uint256 private constant _PAYMENT_GAS = 100_000;

    /// @notice The ledger; its pause stops new offers and matches here too
    IEnergyLedger public immutable ledger;
    /// @notice What is sold
    IERC20 public immutable energyToken;
    /// @notice Where deliveries are shown
    SmartMeterRegistry public immutable registry;
    /// @notice What is paid with; zero for the chain's native currency
    address public immutable currency;
    /// @notice Seconds from the match after which an unsettled trade can be refunded
    uint256 public immutable settlementPeriodS;

    /// @inheritdoc IP2PTrading
    uint256 public dealCount;
    mapping(uint256 id => Deal) private _deals;
    /// @dev Production register up to which a meter's deliveries are already sold, under whatever key;
    /// each reset of the meter begins an epoch with registers of its own.
    mapping(uint256 origin => mapping(uint256 epoch => uint256 productionWh)) private _soldUntilWh;

    /// @inheritdoc IP2PTrading
    mapping(address account => uint256 amount) public proceeds;
    /// @inheritdoc IP2PTrading
    mapping(address account => uint256 amount) public keptEnergy;

    /// @param energyToken_ knows ERC-7943's `canSend` and `canReceive` too
    /// @param settlementPeriodS_ at most 90 days: nobody's energy or payment waits longer
    constructor(
        IEnergyLedger ledger_,
        IERC20 energyToken_,
        SmartMeterRegistry registry_,
        address currency_,
        uint256 settlementPeriodS_
    ) {
        if (settlementPeriodS_ == 0 || settlementPeriodS_ > _SETTLEMENT_PERIOD_MAX_S) {
            revert ConfigurationInvalid("settlementPeriodS");
        }
        ledger = ledger_;
        energyToken = energyToken_;
        registry = registry_;
        currency = currency_;
        settlementPeriodS = settlementPeriodS_;
    }

    /* OFFERS */

    /// @inheritdoc IP2PTrading
    function createSellOrder(uint256 amount, uint256 price, uint256 validityPeriod)
        external
        nonReentrant
        returns (uint256 orderId)
    {
        if (ledger.paused()) revert TradingPaused();
        if (validityPeriod == 0 || validityPeriod > _VALIDITY_MAX_S) {
            revert ValidityInvalid(validityPeriod);
        }
        orderId = ++dealCount;
        Deal storage deal = _deals[orderId];
        deal.seller = msg.sender;
        deal.validUntil = uint40(block.timestamp + validityPeriod);
        deal.energyWh = _wholeWh(amount);
        deal.stage = Stage.Offered;
        deal.changedAt = uint40(block.timestamp);
        deal.price = price.toUint128();
        deal.deviceId = registry.deviceOf(msg.sender);
        emit SellOrderCreated(orderId, msg.sender, amount, price, deal.validUntil);
        energyToken.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IP2PTrading
    function matchOrder(uint256 orderId) external payable nonReentrant returns (bool) {
        _match(orderId, _takeable(orderId));
        return true;
    }

    /// @inheritdoc IP2PTrading
    function matchPart(uint256 orderId, uint256 amount)
        external
        payable
        nonReentrant
        returns (uint256 tradeId)
    {
        Deal storage order = _takeable(orderId);
        uint48 energyWh = _wholeWh(amount);
        if (energyWh > order.energyWh) revert AmountAboveOffer(orderId, amount, _amount(order));
        tradeId = energyWh == order.energyWh ? orderId : _split(orderId, order, energyWh);
        _match(tradeId, _deals[tradeId]);
    }

    /// @inheritdoc IP2PTrading
    function closeSellOrder(uint256 orderId) external nonReentrant {
        Deal storage deal = _in(orderId, Stage.Offered);
        if (msg.sender != deal.seller && block.timestamp < deal.validUntil) {
            revert OrderStillValid(orderId, deal.validUntil);
        }
        deal.stage = Stage.Closed;
        emit SellOrderClosed(orderId);
        _release(deal, deal.seller);
    }

    /* TRADES */

    /// @inheritdoc IP2PTrading
    function settleTrade(uint256 tradeId) external nonReentrant {
        Deal storage deal = _in(tradeId, Stage.Matched);
        bool isFollowed = _followMeter(tradeId, deal);
        if (_countDelivery(deal) || _agree(tradeId, deal)) {
            deal.stage = Stage.Completed;
            uint256 payment = _payment(deal, deal.energyWh);
            emit TradeSettled(tradeId, deal.seller, deal.buyer, payment);
            _release(deal, deal.buyer);
            _pay(deal.seller, payment);
        } else if (isFollowed && !_startDelivery(tradeId, deal, deal.changedAt)) {
            bool isParty = msg.sender == deal.seller || msg.sender == deal.buyer;
            if (!isParty) revert DeliveryNotShown(tradeId);
        }
    }

    /// @inheritdoc IP2PTrading
    function refundTrade(uint256 tradeId) external nonReentrant {
        Deal storage deal = _in(tradeId, Stage.Matched);
        uint256 refundFrom = deal.changedAt + settlementPeriodS;
        if (block.timestamp < refundFrom) revert RefundTooEarly(tradeId, refundFrom);
        if (!_followMeter(tradeId, deal)) revert MeterNotFollowed(tradeId);
        if (_deliveredUntil(deal) != 0) revert DeliveryWasShown(tradeId);
        deal.stage = Stage.Closed;
        emit TradeRefunded(tradeId);
        _release(deal, deal.seller);
        _pay(deal.buyer, _payment(deal, deal.energyWh));
    }

    /// @inheritdoc IP2PTrading
    function fetchProceeds(address to) external nonReentrant {
        uint256 amount = proceeds[msg.sender];
        if (amount == 0) revert NothingKept(msg.sender);
        proceeds[msg.sender] = 0;
        if (!_send(to, amount, gasleft())) revert PaymentRefused(to, amount);
    }

    /// @inheritdoc IP2PTrading
    function sendKeptEnergy(address account) external nonReentrant {
        uint256 amount = keptEnergy[account];
        if (amount == 0) revert NothingKept(account);
        keptEnergy[account] = 0;
        energyToken.safeTransfer(account, amount);
    }

    /* VIEWS */

    /// @inheritdoc IP2PTrading
    function tradeOf(uint256 id) external view returns (EnergyTrade memory) {
        Deal storage deal = _deals[id];
        return EnergyTrade({
            seller: deal.seller,
            buyer: deal.buyer,
            amount: _amount(deal),
            price: deal.price,
            timestamp: deal.changedAt,
            completed: deal.stage == Stage.Completed
        });
    }

    /// @inheritdoc IP2PTrading
    function stageOf(uint256 id) external view returns (Stage stage, uint256 validUntil) {
        return (_deals[id].stage, _deals[id].validUntil);
    }

    /// @inheritdoc IP2PTrading
    function paymentOf(uint256 id) external view returns (uint256) {
        return _payment(_deals[id], _deals[id].energyWh);
    }

    /// @inheritdoc IP2PTrading
    function paymentFor(uint256 orderId, uint256 amount) external view returns (uint256) {
        return _payment(_deals[orderId], _wholeWh(amount));
    }

    /* DEALS */

    /// @dev Split a part off an offer; it has the offer's terms.
    function _split(uint256 orderId, Deal storage order, uint48 energyWh)
        private
        returns (uint256 tradeId)
    {
        tradeId = ++dealCount;
        order.energyWh -= energyWh;
        Deal storage part = _deals[tradeId];
        part.seller = order.seller;
        part.validUntil = order.validUntil;
        part.energyWh = energyWh;
        part.stage = Stage.Offered;
        part.price = order.price;
        part.deviceId = order.deviceId;
        emit OrderSplit(orderId, tradeId, _amount(part), _amount(order));
    }

    /// @dev An offer that the caller may take now.
    function _takeable(uint256 orderId) private view returns (Deal storage deal) {
        if (ledger.paused()) revert TradingPaused();
        deal = _in(orderId, Stage.Offered);
        if (block.timestamp >= deal.validUntil) revert OrderExpired(orderId, deal.validUntil);
        if (msg.sender == deal.seller) revert OwnOrder(orderId);
        _checkParties(deal.seller, msg.sender);
    }

    function _match(uint256 id, Deal storage deal) private {
        deal.stage = Stage.Matched;
        deal.buyer = msg.sender;
        deal.changedAt = uint40(block.timestamp);
        uint256 payment = _payment(deal, deal.energyWh);
        emit OrderMatched(id, msg.sender, payment);
        if (_followMeter(id, deal)) {
            _startDelivery(id, deal, block.timestamp - ledger.intervalS());
        }
        _collect(payment);
    }

    /// @dev Who may not trade now begins no trade; one that has begun goes to its end. The token knows
    /// the compliance rules as well as the ledger's flags.
    function _checkParties(address seller, address buyer) private view {
        IERC7943Fungible rules = IERC7943Fungible(address(energyToken));
        if (!rules.canSend(seller)) revert PartyBlocked(seller);
        if (!rules.canReceive(buyer)) revert PartyBlocked(buyer);
    }

    function _in(uint256 id, Stage stage) private view returns (Deal storage deal) {
        deal = _deals[id];
        if (deal.stage != stage) revert StageInvalid(id, deal.stage);
    }

    function _amount(Deal storage deal) private view returns (uint256) {
        return deal.energyWh * _UNITS_PER_WH;
    }

    function _payment(Deal storage deal, uint256 energyWh) private view returns (uint256) {
        return Math.ceilDiv(energyWh * deal.price, _WH_PER_KWH);
    }

    function _wholeWh(uint256 amount) private pure returns (uint48) {
        if (amount == 0 || amount % _UNITS_PER_WH != 0) revert AmountInvalid(amount);
        return (amount / _UNITS_PER_WH).toUint48();
    }

    /* DELIVERY */

    /// @dev Go on with the key that replaced the meter's, if any. Its registers go on where those of the
    /// old one ended, and so does what is sold of them. What a suspended key showed proves nothing:
    /// the delivery starts anew where it ended. False when there are still more keys to follow.
    function _followMeter(uint256 id, Deal storage deal) private returns (bool) {
        for (uint256 i; i < _SUCCESSORS_MAX; ++i) {
            uint256 deviceId = deal.deviceId;
            uint256 successor = registry.successorOf(deviceId);
            if (successor == 0) return true;
            if (registry.meterOf(deviceId).suspended) deal.hasBaseline = false;
            deal.deviceId = successor;
            emit MeterFollowed(id, successor);
        }
        return registry.successorOf(deal.deviceId) == 0;
    }

    /// @dev Take the meter's latest reading as the delivery's start if it is no older than `since`;
    /// an older one would let the seller deliver what it had produced before. A start of before the
    /// meter's reset says nothing about its registers: then the delivery starts anew.
    function _startDelivery(uint256 tradeId, Deal storage deal, uint256 since)
        private
        returns (bool)
    {
        ISmartMeter.MeterReading memory reading = registry.lastReading(deal.deviceId);
        if (reading.timestamp < since) return false; // also when there is none
        uint64 epoch = _epochOf(reading);
        if (deal.hasBaseline && epoch == deal.epoch) return false;
        deal.hasBaseline = true;
        deal.baselineWh = uint64(reading.production);
        deal.epoch = epoch;
        emit DeliveryStarted(tradeId, reading.production);
        return true;
    }

    /// @dev Tell whether the delivery is shown; what is counted for this trade counts for no other.
    function _countDelivery(Deal storage deal) private returns (bool) {
        uint256 deliveredUntil = _deliveredUntil(deal);
        if (deliveredUntil == 0) return false;
        _soldUntilWh[registry.originOf(deal.deviceId)][deal.epoch] = deliveredUntil;
        return true;
    }

    /// @dev The production register at which the energy is delivered, 0 while it does not stand there.
    function _deliveredUntil(Deal storage deal) private view returns (uint256) {
        uint256 deviceId = deal.deviceId;
        if (!deal.hasBaseline || registry.meterOf(deviceId).revoked) return 0;
        ISmartMeter.MeterReading memory reading = registry.lastReading(deviceId);
        if (_epochOf(reading) != deal.epoch) return 0;
        uint256 sold = _soldUntilWh[registry.originOf(deviceId)][deal.epoch];
        uint256 until = Math.max(deal.baselineWh, sold) + deal.energyWh;
        return reading.production < until ? 0 : until;
    }

    /// @dev How often the meter had been reset by this reading.
    function _epochOf(ISmartMeter.MeterReading memory reading) private view returns (uint64) {
        return uint64(registry.epochOf(reading.deviceId, reading.timestamp));
    }

    /// @dev Note the caller's agreement; tell whether both parties agree.
    function _agree(uint256 tradeId, Deal storage deal) private returns (bool) {
        if (msg.sender == deal.seller) deal.sellerAgrees = true;
        else if (msg.sender == deal.buyer) deal.buyerAgrees = true;
        else return false;
        emit SettlementAgreed(tradeId, msg.sender);
        return deal.sellerAgrees && deal.buyerAgrees;
    }

    /* ESCROW */

    function _collect(uint256 payment) private {
        if (currency == address(0)) {
            if (msg.value != payment) revert PaymentInvalid(msg.value, payment);
            return;
        }
        if (msg.value != 0) revert PaymentInvalid(msg.value, 0);
        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), payment);
        uint256 arrived = IERC20(currency).balanceOf(address(this)) - before;
        if (arrived != payment) revert PaymentInvalid(arrived, payment);
    }

    /// @dev Give the escrowed energy out, or keep it for an account that may not get it now.
    function _release(Deal storage deal, address to) private {
        uint256 amount = _amount(deal);
        if (energyToken.trySafeTransfer(to, amount)) return;
        keptEnergy[to] += amount;
        emit EnergyKept(to, amount);
    }

    /// @dev Send, or keep for the account when it cannot be sent: nobody can block the other party.
    function _pay(address account, uint256 amount) private {
        if (amount == 0 || _send(account, amount, _PAYMENT_GAS)) return;
        proceeds[account] += amount;
        emit ProceedsKept(account, amount);
    }

    /// @dev Takes no answer from the recipient, whose length could cost any gas.
    function _send(address to, uint256 amount, uint256 gasMax) private returns (bool) {
        if (currency != address(0)) return IERC20(currency).trySafeTransfer(to, amount);
        return SafeTransferLib.trySafeTransferETH(to, amount, gasMax);
    }
}
